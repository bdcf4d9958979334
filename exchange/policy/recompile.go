package policy

import (
	"bytes"
	"fmt"

	"github.com/grille-gateway/grille/ledger/entry"
)

// Recompile checks that an entry's template is what its text compiles to for the dataset that it names, and reports ErrPolicy where it
// is not. Verifiers rely on the template alone: this is for those who publish it or approve it.
func Recompile(e entry.PolicyPublish, declared entry.DatasetDeclare) error {
	t, err := ParseTemplate(e.Template)
	if err != nil {
		return err
	}
	if e.Source.Language != Language {
		return fmt.Errorf("compiling policy %s again: its language is %q, this software has %s: %w", e.Policy, e.Source.Language, Language, ErrPolicy)
	}
	d := Document{Policy: e.Policy, Version: e.Version, Dataset: e.Dataset, Title: e.Title, Question: e.Question, When: e.Source.Text,
		OnAbsent: t.Program.OnAbsent.String(), OnMissing: t.Program.OnMissing.String()}
	at, err := entry.ParseTime(e.Time)
	if err != nil {
		return err
	}
	again, err := d.Entry(declared, e.Declare, at)
	if err != nil {
		return err
	}
	if !bytes.Equal(again.Template, e.Template) {
		return fmt.Errorf("compiling policy %s again: its text gives another program than the entry holds: %w", e.Policy, ErrPolicy)
	}
	return nil
}
