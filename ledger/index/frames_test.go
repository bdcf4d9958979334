package index

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestCheckFrames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := checkFrames(path); err != nil {
		t.Errorf("no file: %v", err)
	}
	for doc, ok := range map[string]bool{
		"":                               true,
		"*2\r\n$3\r\ndel\r\n$1\r\nk\r\n": true,
		"*0\r\n":                         true,
		"*6\r\n":                         false,
		"*1\r\n$137438953472\r\n":        false,
		"*1\r\n$-1\r\n":                  false,
		"*1\r\n$03\r\ndel\r\n":           false,
		"*1\r\n$3\r\nde":                 false,
		"*1\r\n":                         false,
		"*1\n$3\r\ndel\r\n":              false,
		"$3\r\ndel\r\n":                  false,
		"*\r\n":                          false,
		"x":                              false,
	} {
		if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := checkFrames(path); (err == nil) != ok || err != nil && !errors.Is(err, errFrames) {
			t.Errorf("%q: %v", doc, err)
		}
	}
}
