package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/prover"
)

// What a proof may cost, for two free cores.
const (
	aimProveProcessor = 420 // ms of processor time
	aimProve          = 220 // ms
	aimVerify         = 2   // ms
)

// loadKeys generates development keys in the run's folder, or reads those that are there.
func (b *bench) loadKeys(ctx context.Context) (*prover.Keys, error) {
	return prover.Develop(ctx, b.keysDir(), nil)
}

func (b *bench) keysDir() string { return filepath.Join(b.dir, "keys") }

// circuit is how a network configuration names the circuit and its keys.
func circuit(k *prover.Keys) network.Circuit {
	m := k.Metadata()
	return network.Circuit{ID: m.CircuitID, VerifyingKey: m.VerifyingKeySHA256, Kind: m.Kind}
}

// proof measures keys, proving and verifying in this process.
func (b *bench) proof(ctx context.Context) error {
	keys, err := b.keys(ctx)
	if err != nil {
		return err
	}
	record, err := person(-9000, 1500, 1, "west")
	if err != nil {
		return err
	}
	usual, err := newStatement(record, typical())
	if err != nil {
		return err
	}
	heavy, err := newStatement(fullRecord(), worst())
	if err != nil {
		return err
	}
	proof, err := b.prove(keys, usual)
	if err != nil {
		return err
	}
	return b.verify(keys, usual, heavy, proof)
}

// fullRecord has a value in every column.
func fullRecord() *circuits.Record {
	r := new(circuits.Record)
	for i := range r.Numeric {
		r.Numeric[i] = 1<<63 + uint64(i)
	}
	for i := range r.Text {
		r.Text[i] = circuits.TextElement("text")
	}
	return r
}

func (b *bench) keys(ctx context.Context) (keys *prover.Keys, err error) {
	b.stage("generating development keys")
	first, firstProcessor, err := measure(1, nil, func() error {
		keys, err = b.loadKeys(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	n := b.samples(10, 3)
	b.stage("loading the keys %d times", n)
	second, _, err := measure(n, nil, func() error {
		_, err := b.loadKeys(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	m := keys.Metadata()
	b.report.Circuit, b.report.KeyKind = m.CircuitID, m.Kind
	b.one("proof", "constraints", "", float64(m.Constraints))
	b.one("proof", "public inputs", "", float64(m.PublicInputs))
	b.one("proof", "verifying key", "bytes", float64(len(keys.VerifyingKey())))
	b.one("proof", "proof", "bytes", prover.ProofSize)
	b.one("proof", "first start: compile, generate and store keys, wall", "ms", first[0])
	b.one("proof", "first start, processor", "ms", firstProcessor[0])
	b.add("proof", "second start: compile, read keys, wall", "ms", n, spread(second), "", 0)
	return keys, nil
}

func (b *bench) prove(keys *prover.Keys, s statement) (prover.Proof, error) {
	n := b.samples(30, 5)
	b.stage("proving %d times", n)
	var proof prover.Proof
	prove := func() (err error) {
		proof, err = keys.Prove(s.public, s.secret)
		return err
	}
	if err := prove(); err != nil { // warms caches up
		return proof, err
	}
	wall, processor, err := measure(n, nil, prove)
	if err != nil {
		return proof, err
	}
	b.add("proof", "prove and check the proof, wall", "ms", n, spread(wall), "median", aimProve)
	b.add("proof", "prove and check the proof, processor", "ms", n, spread(processor), "median", aimProveProcessor)
	return proof, nil
}

// verify measures a verifier that knows the program, and one that sees it for the first time.
func (b *bench) verify(keys *prover.Keys, usual, heavy statement, proof prover.Proof) error {
	n := b.samples(200, 20)
	b.stage("verifying %d times", n)
	v, err := prover.NewVerifier(keys.VerifyingKey())
	if err != nil {
		return err
	}
	if err := v.Verify(usual.public, proof[:]); err != nil {
		return err
	}
	known, _, err := measure(n, nil, func() error { return v.Verify(usual.public, proof[:]) })
	if err != nil {
		return err
	}
	b.add("proof", "verify, program known", "ms", n, spread(known), "median", aimVerify)
	if err := b.firstSight(keys, "verify, program seen first", usual, proof); err != nil {
		return err
	}
	b.stage("proving and verifying the longest program")
	heavyProof, err := keys.Prove(heavy.public, heavy.secret)
	if err != nil {
		return fmt.Errorf("proving the longest program: %w", err)
	}
	return b.firstSight(keys, "verify, longest well-formed program seen first", heavy, heavyProof)
}

// firstSight verifies with a new verifier each time; making it is not measured.
func (b *bench) firstSight(keys *prover.Keys, name string, s statement, proof prover.Proof) error {
	n := b.samples(20, 5)
	var v *prover.Verifier
	wall, _, err := measure(n, func() (err error) {
		v, err = prover.NewVerifier(keys.VerifyingKey())
		return err
	}, func() error { return v.Verify(s.public, proof[:]) })
	if err != nil {
		return err
	}
	b.add("proof", name, "ms", n, spread(wall), "median", aimVerify)
	return nil
}
