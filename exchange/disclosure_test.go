package exchange_test

import (
	"encoding/json"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/requester"
)

// TestColumnsThatAreNotGranted asks for columns beyond the agreement: the holder refuses, and an answer that disclosed one all the
// same would verify nowhere.
func TestColumnsThatAreNotGranted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100, "town")
	for name, columns := range map[string][]string{
		"another column":    {"income"},
		"one more column":   {"income", "town"},
		"no column at all":  {"salary"},
		"the subject's id":  {"person"},
		"in another spell":  {"Town"},
		"with empty column": {"", "town"},
	} {
		q := w.question("P-0001")
		q.Disclose = columns
		if r := w.ask(q); r.Refusal != "disclosure_not_allowed" || r.Report != nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
	q := w.question("P-0001")
	q.Disclose = []string{"town", "town"}
	if _, _, err := w.members[benefits].requester.Draft(q); err == nil {
		t.Error("a column was asked for twice")
	}
	w.asking = func(q *requester.Question) { q.Disclose = []string{"income"} }
	if _, err := w.verify.Verify(w.encode(w.claim(func(*bundle.Header) {}))); reason(err) != bundle.ReasonQueryTerms {
		t.Errorf("an answer to a query beyond the agreement: %v", err)
	}
	w.asking = nil
	result := w.ask(w.question("P-0001"))
	var b bundle.Bundle
	w.check(json.Unmarshal(w.bundle(result.ID, true), &b))
	if b.Disclosed != nil || result.Report.Disclosed != nil {
		t.Errorf("disclosed unasked: %+v", b.Disclosed)
	}
}

// TestDisclosedValuesCannotBeAltered spells the values of a true answer in other ways.
func TestDisclosedValuesCannotBeAltered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100, "age", "town")
	q := w.question("P-0002")
	q.Disclose = []string{"age", "town"}
	result := w.ask(q)
	data := w.bundle(result.ID, false)
	for name, c := range map[string]struct {
		change func(d []bundle.Disclosed) []bundle.Disclosed
		want   bundle.Reason
	}{
		"another text":              {func(d []bundle.Disclosed) []bundle.Disclosed { d[1].Text = "Ulm"; return d }, bundle.ReasonPublic},
		"the text, not normalised":  {func(d []bundle.Disclosed) []bundle.Disclosed { d[1].Text = "Ko\u0308ln"; return d }, bundle.ReasonPublic},
		"the text left out":         {func(d []bundle.Disclosed) []bundle.Disclosed { d[1].Text = ""; return d }, bundle.ReasonPublic},
		"a text for a number":       {func(d []bundle.Disclosed) []bundle.Disclosed { d[0].Text = "60"; return d }, bundle.ReasonPublic},
		"another text and its hash": {func(d []bundle.Disclosed) []bundle.Disclosed { d[1].Text, d[1].Value = "Ulm", element("Ulm"); return d }, bundle.ReasonProof},
		"called missing": {func(d []bundle.Disclosed) []bundle.Disclosed {
			d[1].Text, d[1].Value = "", bundle.FormatElement(fr.Element{})
			return d
		}, bundle.ReasonProof},
		"another number":             {func(d []bundle.Disclosed) []bundle.Disclosed { d[0].Value = number(61); return d }, bundle.ReasonProof},
		"a number beyond 64 bits":    {func(d []bundle.Disclosed) []bundle.Disclosed { d[0].Value = element("60"); return d }, bundle.ReasonPublic},
		"an element above the field": {func(d []bundle.Disclosed) []bundle.Disclosed { d[0].Value = "ff" + d[0].Value[2:]; return d }, bundle.ReasonPublic},
		"one column left out":        {func(d []bundle.Disclosed) []bundle.Disclosed { return d[:1] }, bundle.ReasonPublic},
		"in another order":           {func(d []bundle.Disclosed) []bundle.Disclosed { return []bundle.Disclosed{d[1], d[0]} }, bundle.ReasonPublic},
		"values exchanged": {func(d []bundle.Disclosed) []bundle.Disclosed {
			d[0].Value, d[1].Value = d[1].Value, d[0].Value
			return d
		}, bundle.ReasonPublic},
	} {
		var b bundle.Bundle
		w.check(json.Unmarshal(data, &b))
		b.Disclosed = c.change(b.Disclosed)
		if _, err := w.verify.Verify(w.encode(&b)); reason(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	q.Subject = "P-0003" // has no age
	if r := w.ask(q); len(r.Report.Disclosed) != 2 || r.Report.Disclosed[0].Text != "" || r.Report.Disclosed[1].Text != "Ulm" {
		t.Errorf("a missing value: %+v", r.Report.Disclosed)
	}
}

// element is the hash of a text, number the encoding of a number, as a bundle writes them.
func element(text string) string { return bundle.FormatElement(circuits.TextElement(text)) }

func number(n int64) string {
	u, err := circuits.EncodeInt(n)
	if err != nil {
		panic(err)
	}
	return bundle.FormatElement(fr.NewElement(u))
}
