package demo

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/grille-gateway/grille/prover"
)

// printer writes the transcript. Progress goes to another writer, so that a transcript can be kept.
type printer struct {
	out, progress io.Writer
	quiet         bool // JSON is wanted: no transcript
	started       time.Time
	asked         int
	person        string
	program       string // how to call grille
}

// howToCall is what to type for this program: what go run built is gone with it.
func howToCall(program string) string {
	if strings.Contains(program, "go-build") {
		return "go run ./node/cmd/grille"
	}
	return program
}

func (p *printer) line(format string, args ...any) {
	if !p.quiet {
		fmt.Fprintf(p.out, format+"\n", args...)
	}
}

// stage tells that something that may take a second is under way or done.
func (p *printer) stage(what string) {
	fmt.Fprintf(p.progress, "  %5.1f s  %s\n", time.Since(p.started).Seconds(), what)
}

func (p *printer) opening() {
	p.line("Four departments, each with a gateway, its own records and its own keys, on this machine.")
	p.line("The people are real: 4,406 answers to a survey of 1988, split by column so that nobody holds them all.")
	p.line("")
}

// firstRun says why this takes longer than the next time.
func (p *printer) firstRun() {
	p.stage("no keys yet: the members make them together, which takes under two minutes on two processors; later runs find them")
}

func (p *printer) keys(m prover.Metadata, contributors int) {
	p.stage(fmt.Sprintf("%s keys for %d constraints, %d public inputs: %d members made them together, sound if one was honest", m.Kind,
		m.Constraints, m.PublicInputs, contributors))
	p.stage(fmt.Sprintf("transcript %.16s..., which one process verified for all: good for a demo, where all run on one machine", m.Transcript))
}

func (p *printer) ready(s *Story) {
	p.line("")
	p.line("Ready to ask after %.1f s. What each department keeps at home:", s.Ready)
	p.line("")
	if !p.quiet {
		t := tabwriter.NewWriter(p.out, 2, 0, 2, ' ', 0)
		for _, m := range Departments {
			fmt.Fprintf(t, "  %s\t%s\t%s\n", m.Name, m.Title, holdings[m.Dataset])
		}
		t.Flush()
	}
	p.line("")
	p.line("The ledger that all four replicate holds one commitment for each, the policies and the agreements. No record, no count.")
}

// holdings says in words what each dataset has.
var holdings = map[string]string{
	"residents": "age, gender, married, region, school of everybody",
	"income":    "income and employment of everybody",
	"health":    "health, conditions, daily living, hospital, visits of everybody",
	"medicaid":  "insurance of those who receive Medicaid, and nobody else",
}

func (p *printer) step(s Step) {
	if s.Subject != p.person {
		p.person = s.Subject
		p.line("")
		p.line("%s", introductions[s.Subject])
	}
	p.asked++
	p.line("")
	p.line("  %d. %s asks %s:", p.asked, s.Asker, s.Holder)
	p.line("     %s", strings.ReplaceAll(s.Question, "this person", s.Subject))
	p.line("     %-15s proved in %.0f ms, verified in %.1f ms, %.0f ms in all; the evidence is %.1f kB", s.Verdict, s.Proof, s.Verify, s.Total,
		float64(s.Bundle)/1000)
}

var introductions = map[string]string{
	fits:    fits + " applies for Medicaid.",
	tooRich: tooRich + " applies too.",
	nobody:  "Somebody applies as " + nobody + ". The survey ends at NMES-004406.",
}

func (p *printer) learnt(s *Story) {
	p.line("")
	p.line("What the askers learnt: %d verdicts. What they did not: an age, an income, a diagnosis, or which half of an \"or\" held.", len(s.Steps))
	p.line("What the holders learnt: that this member asked this question about this person, under an agreement they can end.")
	p.line("What everybody else learnt: nothing. Each query leaves a receipt under the next beat; the beat shows no count.")
	p.line("An entry on the ledger was final, on the disks of 3 of 4 members, after %.0f ms on average.", s.Finality)
}

func (p *printer) checks(s *Story) {
	p.line("")
	p.line("Anyone can check the evidence offline, with the bundle, the network configuration and the verifying key. `grille verify` on")
	p.line("the income of %s:", tooRich)
	for _, c := range s.Checks {
		p.line("")
		p.line("  %s", c.What)
		p.line("  -> %s", c.Said)
	}
	p.line("")
}

func (p *printer) audits(s *Story) {
	p.line("A privacy officer needs no record to oversee all this. `grille ledger audit` at %s reads every log again and computes", officer)
	p.line("every hash, signature and rule anew:")
	for _, a := range s.Audits {
		p.line("")
		p.line("  %s", a.What)
		if a.Clean {
			p.line("  -> clean: %d entries in %d logs", a.Entries, a.Logs)
		} else {
			p.line("  -> refused (%s)", strings.Join(a.Codes, ", "))
		}
	}
	p.line("")
}

func (p *printer) addresses(s *Story) {
	p.line("The network stays up until Ctrl-C. Ask it something else:")
	p.line("")
	for _, m := range s.Members {
		p.line("  %-14s %s   %s", m.Name, m.API, m.Folder)
	}
	p.line("")
	p.line("Each describes itself at /openapi.json; the token that it wants is keys/api.token in its folder.")
	p.line("")
	for _, m := range s.Members {
		if m.Name == asker {
			p.line("  echo NMES-000007 | %s ask --dir %s \\", p.program, m.Folder)
			p.line("    --holder GOV/civil --policy aged-75 --purpose %q --legal-basis %q", Purpose, LegalBasis)
		}
	}
}

// examples says how to run the worked examples, if the network has them.
func (p *printer) examples(s *Story) {
	if len(s.Examples) == 0 {
		return
	}
	folder := ""
	for _, m := range s.Members {
		if m.Name == ExampleAsker {
			folder = m.Folder
		}
	}
	p.line("")
	p.line("It has %d worked examples, programs of %s. Apply to one; exchange/testdata/programs has more cases of each:", len(s.Examples), ExampleAsker)
	for _, e := range s.Examples {
		p.line("")
		p.line("  # %s: %s", e.Title, e.Outcome)
		p.line("  printf %q | %s program run %s --dir %s", applicants(e.Subjects), p.program, e.Program, folder)
	}
}

// applicants is what `grille program run` reads: a line for each role.
func applicants(subjects map[string]string) string {
	var lines strings.Builder
	for _, role := range slices.Sorted(maps.Keys(subjects)) {
		lines.WriteString(role + ": " + subjects[role] + "\n")
	}
	return lines.String()
}

func (p *printer) closing() { p.line("\nStopping.") }
