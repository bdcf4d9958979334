package index

import (
	"strings"
	"testing"
	"time"

	"github.com/grille-gateway/grille/ledger/internal/corpus"
)

func TestSeeds(t *testing.T) {
	const set, del = "*3\r\n$3\r\nset\r\n", "*2\r\n$3\r\ndel\r\n"
	arg := func(s string) string {
		return "$" + string(rune('0'+len(s)/10)) + string(rune('0'+len(s)%10)) + "\r\n" + s + "\r\n"
	}
	arg1 := func(s string) string { return "$" + string(rune('0'+len(s))) + "\r\n" + s + "\r\n" }
	corpus.Check(t, "FuzzOpen", map[string][]any{
		"deleted-twice":  {[]byte(del + arg1("k") + del + arg1("k"))},
		"row-alone":      {[]byte(set + arg(rowKey(0, 1, 2)) + arg1(""))},
		"group-alone":    {[]byte(set + arg1(groupKey(0)) + arg1("o\tm\t\t\t"))},
		"group-again":    {[]byte(set + arg1(groupKey(0)) + arg1("o\tm\t\t\t") + set + arg1(groupKey(1)) + arg1("o\tm\t\t\t"))},
		"group-too-high": {[]byte(set + arg1(groupKey(1<<32-1)) + arg1("o\tm\t\t\t") + set + arg(rowKey(1<<32-1, 0, 0)) + arg1(""))},
		"head-alone":     {[]byte(set + arg1("ho") + arg1("{}"))},
		"row-with-value": {[]byte(set + arg1(groupKey(0)) + arg1("o\tm\t\t\t") + set + arg(rowKey(0, 1, 2)) + arg1("x"))},
		"empty-key":      {[]byte(set + "$0\r\n\r\n$0\r\n\r\n")},
		"empty-command":  {[]byte("*3\r\n$0\r\n\r\n$1\r\nk\r\n$0\r\n\r\n")},
		"expiring":       {[]byte("*5\r\n$3\r\nset\r\n$1\r\nk\r\n$0\r\n\r\n$2\r\nex\r\n$1\r\n1\r\n")},
		"flushdb":        {[]byte("*1\r\n$7\r\nflushdb\r\n")},
		"huge-length":    {[]byte(set + "$137438953472\r\nx")},
		"nul":            {[]byte("\x00" + del + arg1("k"))},
		"cut":            {[]byte(set + arg1("k") + "$5\r\nab")},
	})
	corpus.Check(t, "FuzzCursor", map[string][]any{
		"real":      {Row{Origin: "test.example/GOV/tax/log/1", Index: 300, Time: time.Unix(1772366400, 0)}.Cursor()},
		"no-time":   {Row{Origin: "o", Time: time.Unix(0, 0)}.Cursor()},
		"no-origin": {"MSAy"},
		"padded":    {"MSAyIG8="},
		"no-base64": {"!!"},
		"negative":  {"LTEgMiBv"},
		"long":      {strings.Repeat("A", maxCursor+4)},
	})
}
