package witness

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/node/tlogweb"
)

// openNeighbour opens the ledger of another member, which witnesses the log of this package's tests.
func openNeighbour(t *testing.T) *ledger.Store {
	t.Helper()
	s := openIn(t, t.TempDir(), "GOV/civil", testCard(t, member, "127.0.0.1:4433"), testCard(t, "GOV/civil", "127.0.0.1:4434"))
	if err := s.Hear(member, nil, nil); err != nil {
		t.Fatal(err)
	}
	return s
}

func post(t *testing.T, url string, body []byte) (status int, kind string, answer []byte) {
	t.Helper()
	resp, err := http.Post(url, "text/plain", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), answer
}

// TestSameAnswersAsLitewitness sends the same requests to torchwood's witness and to a gateway's. Where the answers differ
// the table says why; everything that the gateway's accepts, torchwood's accepts.
func TestSameAnswersAsLitewitness(t *testing.T) {
	owner := openStore(t, t.TempDir())
	lw := newLitewitness(t, "witness.example/lite")
	logKey, _, _ := owner.Config().LogKey(origin)
	lw.take(logKey)
	ours := httptest.NewServer(tlogweb.New(tlogweb.Options{Store: openNeighbour(t), RequestsPerSecond: 1000}))
	defer ours.Close()
	defer http.DefaultClient.CloseIdleConnections()

	notes := map[int64][]byte{}
	trees := map[int64]tlog.Tree{}
	for _, n := range []int64{3, 10, 11, 300} {
		head := grow(t, owner, int(n)-int(owner.Size(origin)))
		c, err := note.Parse(head.Checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		notes[n], trees[n] = note.Assemble(c, nil), c.Tree
	}
	request := func(old, size int64) string {
		var proof []tlog.Hash
		if old > 0 && old < size {
			var err error
			if proof, err = owner.Consistency(origin, uint64(old), uint64(size)); err != nil {
				t.Fatal(err)
			}
		}
		return string(note.AddCheckpoint{Old: old, Proof: proof, Note: notes[size]}.Encode())
	}
	twoRoots, err := note.Sign(origin, tlog.Tree{N: 11}, testKeys.Key("log "+member))
	if err != nil {
		t.Fatal(err)
	}
	forged, err := note.Sign(origin, trees[300], testKeys.Key("another"))
	if err != nil {
		t.Fatal(err)
	}
	hash := trees[3].Hash.String()
	for _, tc := range []struct {
		name, body   string
		theirs, mine int
		why          string // where they differ
	}{
		{"first", request(0, 3), 200, 200, ""},
		{"grown", request(3, 10), 200, 200, ""},
		{"the same again", request(10, 10), 200, 200, ""},
		{"old size 0", request(0, 11), 409, 409, ""},
		{"old size of before", request(3, 11), 409, 409, ""},
		{"old size beyond", "old 12\n\n" + string(notes[11]), 400, 400, ""},
		{"no proof", "old 10\n\n" + string(notes[11]), 422, 422, ""},
		{"another proof", "old 10\n" + hash + "\n\n" + string(notes[11]), 422, 422, ""},
		{"another key's signature", "old 10\n\n" + string(forged), 403, 403, ""},
		{"spoilt text", strings.Replace(request(10, 11), "\n11\n", "\n12\n", 1), 403, 403, ""},
		{"unknown log", strings.ReplaceAll(request(0, 3), "GOV/tax", "GOV/none"), 404, 404, ""},
		{"no old line", string(notes[11]), 400, 400, ""},
		{"no size", "old \n\n" + string(notes[11]), 400, 400, ""},
		{"negative size", "old -1\n\n" + string(notes[11]), 400, 400, ""},
		{"64 hashes", "old 10\n" + strings.Repeat(hash+"\n", 64) + "\n" + string(notes[11]), 400, 400, ""},
		{"bad hash", "old 10\nAAAA\n\n" + string(notes[11]), 400, 400, ""},
		{"empty", "", 400, 400, ""},
		{"a stranger's signature, too", request(10, 11) + note.Signature{Name: "stranger.example", Hash: 1, Body: []byte{1}}.Line(), 200, 200, ""},
		{"leading zero", strings.Replace(request(11, 11), "old 11", "old 011", 1), 200, 400, "no leading zeros, says the specification"},
		{"sign", strings.Replace(request(11, 11), "old 11", "old +11", 1), 200, 400, "digits only, says the specification"},
		{"large", request(11, 11) + strings.Repeat(note.Signature{Name: "stranger.example", Body: make([]byte, 300)}.Line(), 30), 500, 200, "a bound is each witness's own: 10 KB there, 19 KB here"},
		{"two roots", "old 11\n\n" + string(twoRoots), 422, 409, "409, says the specification (v1)"},
		{"no note", "old 11\n\nnonsense", 404, 400, "read before it is looked up"},
		{"not UTF-8", request(11, 11) + "\xff", 500, 400, "the request's fault, not the server's"},
	} {
		status, kind, answer := post(t, lw.url+"/add-checkpoint", []byte(tc.body))
		mine, myKind, myAnswer := post(t, ours.URL+"/add-checkpoint", []byte(tc.body))
		if status != tc.theirs || mine != tc.mine || (tc.why == "") != (status == mine) {
			t.Errorf("%s: litewitness answers %d, the gateway %d (%.60s), want %d and %d", tc.name, status, mine, myAnswer, tc.theirs, tc.mine)
		}
		if status == 409 && mine == 409 && (kind != myKind || !bytes.Equal(answer, myAnswer)) {
			t.Errorf("%s: litewitness answers %q %q, the gateway %q %q", tc.name, kind, answer, myKind, myAnswer)
		}
	}
}
