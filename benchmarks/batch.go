package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/ledger/verified"
	"github.com/grille-gateway/grille/node/demo"
	"github.com/grille-gateway/grille/prover"
)

// aimBatch is how many times as fast as one by one, in wall time on all processors, a hundred answers should verify together.
const aimBatch = 3

// batch measures the verification of many answers together against one by one: of the proofs alone, made here; and of whole bundles, by
// four gateways to questions of four kinds. One by one runs on one processor, together on all. First one way and then the other, several times.
func (b *bench) batch(ctx context.Context) error {
	count := b.samples(100, 10)
	statements, err := b.statements(ctx, count)
	if err != nil {
		return err
	}
	keys, err := b.loadKeys(ctx)
	if err != nil {
		return err
	}
	v, err := prover.NewVerifier(keys.VerifyingKey())
	if err != nil {
		return err
	}
	b.stage("verifying %d proofs, one by one and together", count)
	err = b.compare("proofs alone", count, func() error {
		for _, s := range statements {
			if err := v.Verify(s.Public, s.Proof); err != nil {
				return err
			}
		}
		return nil
	}, func() error { return errors.Join(v.VerifyAll(statements)...) })
	if err != nil {
		return err
	}
	return b.bundles(ctx, v, count)
}

// statements are proofs about different people under one program.
func (b *bench) statements(ctx context.Context, count int) ([]prover.Statement, error) {
	keys, err := b.loadKeys(ctx)
	if err != nil {
		return nil, err
	}
	b.stage("making %d proofs", count)
	out := make([]prover.Statement, count)
	for i := range out {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		record, err := person(int64(-9000-i), int64(1500+i), 1, "west")
		if err != nil {
			return nil, err
		}
		s, err := newStatement(record, typical())
		if err != nil {
			return nil, err
		}
		proof, err := keys.Prove(s.public, s.secret)
		if err != nil {
			return nil, err
		}
		out[i] = prover.Statement{Public: s.public, Proof: proof[:]}
	}
	return out, nil
}

// bundles compares whole bundles as a stranger verifies them, with nothing remembered of their checkpoints.
func (b *bench) bundles(ctx context.Context, proofs *prover.Verifier, count int) error {
	m, stop, err := b.start(ctx)
	if err != nil {
		return err
	}
	defer stop()
	b.stage("asking %d questions", count)
	data := make([][]byte, count)
	for i := range data {
		a, _, err := m.ask(ctx, i, i+1)
		if err != nil {
			return err
		}
		if err := m.clients[demo.Rights[i%len(demo.Rights)].Requester].Get(ctx, "/v1/answers/"+a.ID, &data[i]); err != nil {
			return err
		}
	}
	v := &bundle.Verifier{Config: m.Config, Proofs: bundle.VerifyingKeys{proofs}}
	b.stage("verifying %d bundles, one by one and together", count)
	return b.compare("whole bundles", count, func() error {
		verified.Forget()
		for _, d := range data {
			if _, err := v.Verify(d); err != nil {
				return err
			}
		}
		return nil
	}, func() error {
		verified.Forget()
		for _, r := range v.VerifyAll(data) {
			if r.Err != nil {
				return r.Err
			}
		}
		return nil
	})
}

// compare runs both ways in turn. The time is what a user waits for; the processor time says what is saved, however many processors share it.
func (b *bench) compare(what string, count int, oneByOne, together func() error) error {
	var single, many way
	for range b.samples(10, 3) {
		if err := single.run(count, oneByOne); err != nil {
			return err
		}
		if err := many.run(count, together); err != nil {
			return err
		}
	}
	n := len(single.wall)
	limit := 0.0
	if what == "proofs alone" {
		limit = aimVerify
	}
	b.add("batch", fmt.Sprintf("%s, one by one, each of %d", what, count), "ms", n, spread(single.wall), "median", limit)
	b.add("batch", fmt.Sprintf("%s, together, each of %d", what, count), "ms", n, spread(many.wall), "", 0)
	b.add("batch", fmt.Sprintf("%s, together, processor for each of %d", what, count), "ms", n, spread(many.processor), "", 0)
	b.least("batch", what+", times as fast together", "", n, quantile(single.wall, 0.5)/quantile(many.wall, 0.5), aimBatch)
	b.one("batch", what+", times less processor time together", "", quantile(single.processor, 0.5)/quantile(many.processor, 0.5))
	return nil
}

// way is how long one way takes for each answer, in ms, in several runs.
type way struct{ wall, processor []float64 }

func (w *way) run(count int, work func() error) error {
	wall, processor, err := measure(1, nil, work)
	if err != nil {
		return err
	}
	w.wall, w.processor = append(w.wall, wall[0]/float64(count)), append(w.processor, processor[0]/float64(count))
	return nil
}
