package demo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/grille-gateway/grille/exchange/example"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/node/api"
)

// ExampleAsker decides the applications of the worked examples: their programs are on its log.
const ExampleAsker = asker

// A Sample is an application that can be made to a worked example's program.
type Sample struct {
	Program  string            `json:"program"`
	Title    string            `json:"title"`
	Subjects map[string]string `json:"subjects"` // by role; shown here because the people are made up
	Outcome  string            `json:"outcome"`  // what comes out
}

// addExamples reads worked examples and furnishes the network with them.
func (n *Network) addExamples(ctx context.Context, dir string, s *Story) error {
	if dir == "" {
		return nil
	}
	all, err := example.Load(os.DirFS(dir))
	if err != nil {
		return err
	}
	if err := n.FurnishExamples(ctx, all); err != nil {
		return err
	}
	for _, e := range all {
		c := e.Cases[0]
		s.Examples = append(s.Examples, Sample{e.Name, e.Program.Title, c.Subjects, c.Outcome})
	}
	n.opts.Progress(fmt.Sprintf("%d worked examples: data, policies, agreements and programs", len(all)))
	return nil
}

// FurnishExamples gives the network what worked examples need: datasets with their data as of today, policies, agreements with
// ExampleAsker, and the programs on its log. The members must be running; the examples' holders are members.
func (n *Network) FurnishExamples(ctx context.Context, all []*example.Example) error {
	for _, step := range []func(context.Context, *example.Example) error{n.importExample, n.agreeExample, n.publishExample} {
		group, held := errgroup.WithContext(ctx)
		group.SetLimit(4)
		for _, e := range all {
			group.Go(func() error {
				if err := step(held, e); err != nil {
					return fmt.Errorf("furnishing example %s: %w", e.Name, err)
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// importExample declares the datasets, imports their states one after the other and publishes the policies.
func (n *Network) importExample(ctx context.Context, e *example.Example) error {
	today := time.Now().UTC().Truncate(24 * time.Hour)
	for _, d := range e.Datasets {
		holder := n.Node(d.Holder)
		if holder == nil {
			return fmt.Errorf("no member %s", d.Holder)
		}
		if err := holder.Client().Send(ctx, "/v1/datasets", "application/yaml", bytes.NewReader(d.Document), nil); err != nil {
			return err
		}
		epochs, err := d.At(e.AsOf, today)
		if err != nil {
			return err
		}
		for _, data := range epochs {
			if err := holder.Client().Send(ctx, "/v1/datasets/"+d.Schema.Dataset+"/epochs", "text/csv", bytes.NewReader(data), nil); err != nil {
				return err
			}
		}
	}
	for _, p := range e.Policies {
		if err := n.Node(p.Holder).Client().Send(ctx, "/v1/policies", "application/yaml", bytes.NewReader(p.Document), nil); err != nil {
			return err
		}
	}
	return nil
}

// agreeExample makes one agreement for each policy that the program asks.
func (n *Network) agreeExample(ctx context.Context, e *example.Example) error {
	done := map[string]bool{}
	for _, c := range e.Program.Checks {
		if done[c.Policy] {
			continue
		}
		done[c.Policy] = true
		offer := api.Offer{Holder: c.Holder, Policy: c.Policy, Version: c.Version, Purpose: c.Purpose, LegalBasis: c.LegalBasis,
			PerSubject: 1000, Total: 100_000}
		if e.Remembers(c.Policy) {
			offer.AsOfFrom = time.Now().AddDate(0, 0, -1).UTC().Format(time.DateOnly)
		}
		if s := e.Program.Scope; s != nil && s.Check == c.Name {
			offer.Scope = e.Program.Name
			if err := n.openScope(ctx, c.Holder, api.ScopeName{Program: e.Program.Name, Period: s.Period}); err != nil {
				return err
			}
		}
		if err := n.agree(ctx, ExampleAsker, offer); err != nil {
			return err
		}
	}
	return nil
}

// openScope makes a member the register of a scope from now on, for a year.
func (n *Network) openScope(ctx context.Context, register string, name api.ScopeName) error {
	now := time.Now().UTC()
	return n.Node(register).Client().Post(ctx, "/v1/scopes", api.ScopeOpening{ScopeName: name, Opens: entry.FormatTime(now),
		Closes: entry.FormatTime(now.AddDate(1, 0, 0))}, nil)
}

// publishExample puts the program on its owner's log.
func (n *Network) publishExample(ctx context.Context, e *example.Example) error {
	return n.Node(ExampleAsker).Client().Send(ctx, "/v1/programs", "application/yaml", bytes.NewReader([]byte(e.Program.Source)), nil)
}
