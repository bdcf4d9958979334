package exchange_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/requester"
)

// capture is a slog handler that keeps every record, of every level, as text: message, attributes and what %+v shows of their values.
type capture struct {
	*captured
	attrs string
}

type captured struct {
	mu   sync.Mutex
	text strings.Builder
}

func (c capture) Enabled(context.Context, slog.Level) bool { return true }

func (c capture) Handle(_ context.Context, r slog.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(&c.text, "%s %s%s", r.Level, r.Message, c.attrs)
	r.Attrs(func(a slog.Attr) bool { c.text.WriteString(spell(a)); return true })
	c.text.WriteByte('\n')
	return nil
}

func (c capture) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		c.attrs += spell(a)
	}
	return c
}

func (c capture) WithGroup(name string) slog.Handler { c.attrs += " " + name + "."; return c }

func spell(a slog.Attr) string {
	v := a.Value.Resolve()
	return fmt.Sprintf(" %s=%s %+v %#v", a.Key, v, v.Any(), v.Any())
}

func (c *captured) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// TestLogsNameNobody captures what all members log, at every level, and the errors that callers and peers are given, while queries are
// answered, refused, lost, rejected and malformed. Neither subject id, subject key, nonce, disclosed value nor opening is in them.
func TestLogsNameNobody(t *testing.T) {
	t.Parallel()
	logs := capture{captured: &captured{}}
	w := newWorldWith(t, setting{logs: logs})
	w.furnish(peopleCSV, 2, 6, "town", "income")
	told := &strings.Builder{}
	tell := func(err error) {
		if err != nil {
			fmt.Fprintf(told, "%v %+v\n", err, err)
		}
	}
	secrets := map[string]bool{"P-000": true, "p-000": true, "Jane Doe": true, "Köln": true, "5770.00": true, "555-12-3456": true}
	ask := func(q requester.Question) *requester.Result {
		result, err := w.members[benefits].requester.Ask(t.Context(), q)
		tell(err)
		if result != nil {
			fmt.Fprintln(told, result.Message, result.Rejected, result.Refusal)
			w.secretsOf(t, result.ID, secrets)
		}
		return result
	}
	disclosing := w.question("P-0002")
	disclosing.Disclose = []string{"income", "town"}
	if r := ask(disclosing); r.Verdict != "not_satisfied" {
		t.Fatalf("%+v", r)
	}
	ask(w.question("P-0001"))
	other := w.question("P-0001")
	other.Purpose = "curiosity"
	for _, q := range []requester.Question{other, w.question("P-0001"), w.question("P-0001"), w.question("Jane Doe"), w.question("555-12-3456")} {
		ask(q) // another purpose, then the budget for this subject runs out, then no ids of the scheme
	}
	w.unserved(t, secrets, tell)
	c := w.members[civil]
	for _, spoil := range []func([]byte, error) ([]byte, error){
		func(reply []byte, err error) ([]byte, error) {
			return []byte(strings.Replace(string(reply), "satisfied", "indeterminate", 1)), err
		},
		func([]byte, error) ([]byte, error) { return []byte(`{"answer":"P-0001"}`), nil },
		func([]byte, error) ([]byte, error) { return nil, errors.New("connection lost") },
	} {
		c.intercept = spoil
		ask(w.question("P-0003"))
	}
	c.path = func([]byte, error) ([]byte, error) { return []byte(`{"checkpoint":"P-0001"}`), nil }
	w.eventually("a promise is reported as broken", func() bool {
		w.members[benefits].requester.Follow(t.Context())
		return strings.Contains(logs.String(), "promise broken")
	})
	w.members[benefits].halt() // the lost query is resumed, and lost again
	w.members[benefits].start()
	w.members[benefits].requester.Resume(t.Context())
	text := logs.String() + told.String()
	if records := strings.Count(text, "\n"); records < 10 || !strings.Contains(text, "no reply") || told.Len() < 1000 || len(secrets) < 20 {
		t.Fatalf("only %d records, %d secrets and %d bytes of errors were looked at", records, len(secrets), told.Len())
	}
	for secret := range secrets {
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("%q stands in %q", secret, text[max(0, i-200):min(len(text), i+100)])
		}
	}
}

// secretsOf adds the nonce of a query, in hex and as bytes print.
func (w *world) secretsOf(t *testing.T, id string, secrets map[string]bool) {
	t.Helper()
	data, err := w.members[benefits].requester.Bundle(id, true)
	if err != nil {
		return
	}
	b, err := bundle.Decode(data)
	w.check(err)
	w.addOpening(b.Opening, secrets)
}

func (w *world) addOpening(o *bundle.Opening, secrets map[string]bool) {
	nonce, err := hex.DecodeString(o.Nonce)
	w.check(err)
	key := circuits.SubjectKey(w.config.Instance, "person", o.Subject)
	e := key.Element()
	for _, s := range []string{o.Nonce, strings.Trim(fmt.Sprint(nonce[:8]), "[]"), hex.EncodeToString(key[:]),
		strings.Trim(fmt.Sprint(key[:]), "[]"), e.String(), fmt.Sprint(key.Place())} {
		secrets[s] = true
	}
}

// unserved sends requests that are refused, not authentic or malformed to a holder, with openings in them.
func (w *world) unserved(t *testing.T, secrets map[string]bool, tell func(error)) {
	t.Helper()
	h := w.members[civil].holder
	var whole string
	for _, change := range []func(*bundle.Query, *bundle.Opening){
		func(_ *bundle.Query, o *bundle.Opening) { o.Subject = "Jane Doe" },
		func(_ *bundle.Query, o *bundle.Opening) { o.Subject = "p-0001" },
		func(_ *bundle.Query, o *bundle.Opening) { o.Subject = strings.Repeat("P-0001", 60) },
		func(_ *bundle.Query, o *bundle.Opening) { o.Nonce = "P-0001" },
		func(q *bundle.Query, _ *bundle.Opening) { q.Tag = "P-0001" },
		func(q *bundle.Query, _ *bundle.Opening) { q.ID = "P-0001" },
		func(q *bundle.Query, _ *bundle.Opening) { q.Holder = "P-0001" },
		func(q *bundle.Query, _ *bundle.Opening) { q.Policy = "P-0001" },
		func(q *bundle.Query, _ *bundle.Opening) { q.Disclose = []string{"P-0001"} },
		func(q *bundle.Query, _ *bundle.Opening) { q.Issued = "P-0001" },
		func(q *bundle.Query, _ *bundle.Opening) { q.MaxAgeSeconds = -1 },
		nil,
	} {
		request := w.request(w.question("P-0001"), func(q *bundle.Query, o *bundle.Opening) {
			w.addOpening(o, secrets)
			if change != nil {
				change(q, o)
			}
		})
		whole = string(request)
		_, err := h.Answer(t.Context(), benefits, request)
		tell(err)
	}
	for _, spoiled := range []string{whole[:len(whole)-1], whole + "}", whole[1:], strings.Replace(whole, `"opening":{`, `"opening":{"x":"P-0001",`, 1),
		strings.Replace(whole, `"subject":"P-0001"`, `"subject":["P-0001"]`, 1), strings.Replace(whole, `"subject":"P-0001"`, `"subject":5770`, 1),
		strings.Replace(whole, `P-0001`, `P-0001\ud800`, 1), strings.Replace(whole, `"signature":"`, `"signature":"P-0001`, 1)} {
		_, err := h.Answer(t.Context(), benefits, []byte(spoiled))
		if !errors.Is(err, holder.ErrRequest) {
			t.Errorf("%.60s...: %v", spoiled, err)
		}
		tell(err)
		_, err = h.ReceiptPath(t.Context(), benefits, []byte(spoiled))
		tell(err)
	}
	p := receipt.Promise{Version: 1, Member: civil, Beat: 1, Deadline: "P-0001"}
	signed, err := bundle.Sign(w.members[civil].query, bundle.LabelPromise, &p)
	w.check(err)
	path, err := bundle.Encode(&bundle.ReceiptRequest{Promise: signed})
	w.check(err)
	_, err = h.ReceiptPath(t.Context(), benefits, path)
	tell(err)
	gone, cancel := context.WithTimeout(t.Context(), time.Microsecond)
	defer cancel()
	_, err = h.Answer(gone, benefits, w.request(w.question("P-0004"), nil))
	tell(err)
}
