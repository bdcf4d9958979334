package core

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

func TestMarks(t *testing.T) {
	for _, marks := range [][]Mark{
		nil,
		{{Log: 0, Size: 0}},
		{{Log: 0, Size: 1}, {Log: 1, Size: 1 << 50}, {Log: 700, Size: 77}, {Log: MaxLogs - 1, Size: 3}},
	} {
		for _, roots := range []bool{false, true} {
			if roots {
				for i := range marks {
					marks[i].Root = [4]byte{byte(i), 2, 3, 4}
				}
			}
			got, err := DecodeMarks(EncodeMarks(marks, roots), roots, MaxLogs)
			if err != nil || !slices.Equal(got, marks) {
				t.Errorf("%v: %v, %v", marks, got, err)
			}
		}
	}
	full := make([]Mark, MaxLogs)
	for i := range full {
		full[i] = Mark{Log: i, Size: 1 << 50}
	}
	if n := len(EncodeMarks(full, true)); n > MaxMarks {
		t.Errorf("the longest list has %d bytes, the limit is %d", n, MaxMarks)
	}
}

func TestBadMarks(t *testing.T) {
	for name, data := range map[string][]byte{
		"cut":            {1},
		"cut varint":     {0x80},
		"same log again": {1, 1, 0, 1},
		"log too large":  {5, 1},
		"wraps":          {1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1},
		"size too large": {1, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02},
		"long varint":    {1, 0x81, 0x00},
		"overflow":       {1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"too long":       make([]byte, MaxMarks+1),
	} {
		if got, err := DecodeMarks(data, false, 4); !errors.Is(err, ErrMarks) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if got, err := DecodeMarks([]byte{1, 1, 9, 9, 9}, true, 4); !errors.Is(err, ErrMarks) {
		t.Errorf("cut root: %v, %v", got, err)
	}
}

func FuzzDecodeMarks(f *testing.F) {
	f.Add([]byte{1, 1}, false)
	f.Add([]byte{1, 5, 1, 2, 3, 4, 3, 0x80, 1, 1, 2, 3, 4}, true)
	f.Add([]byte{1, 0x81, 0}, false)
	f.Fuzz(func(t *testing.T, data []byte, roots bool) {
		marks, err := DecodeMarks(data, roots, 100)
		if err == nil && !bytes.Equal(EncodeMarks(marks, roots), data) {
			t.Errorf("two encodings of %v", marks)
		}
		if len(marks) > 100 {
			t.Errorf("%d marks", len(marks))
		}
	})
}
