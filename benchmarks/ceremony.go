package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/grille-gateway/grille/prover"
	"github.com/grille-gateway/grille/prover/ceremony"
)

// departments take part in the ceremony that is measured.
var departments = []string{"GOV/identity", "GOV/tax", "GOV/benefits", "GOV/housing"}

// rite is a ceremony under measurement.
type rite struct {
	*bench
	ctx     context.Context
	circuit *ceremony.Circuit
	signers []ceremony.Signer
	c       *ceremony.Ceremony
	dir     string
	total   float64 // ms of everything until the keys are there
}

// aimCeremony is the most seconds that a demo's first run has, ceremony and all.
const aimCeremony = 120

// ceremony measures one ceremony of four over the whole statement, step by step, and then its verification by somebody else. The
// members stand in one process and work one after another; what a network adds are the bytes of a payload each way.
func (b *bench) ceremony(ctx context.Context) error {
	r := &rite{bench: b, ctx: ctx, dir: filepath.Join(b.dir, "ceremony")}
	if err := r.open(); err != nil {
		return err
	}
	defer r.c.Close()
	r.one("ceremony", "domain", "", float64(r.circuit.Domain()))
	for phase := 1; phase <= 2; phase++ {
		if err := r.phase(phase); err != nil {
			return err
		}
	}
	r.add("ceremony", "all of it, one step after another", "s", 1, []Value{{"wall", r.total / 1000}}, "wall", aimCeremony)
	r.one("ceremony", "transcript.json", "bytes", float64(len(r.c.Transcript().Encode())))
	var payloads int64
	for _, p := range r.c.Transcript().Payloads() {
		payloads += p.Size
	}
	r.one("ceremony", "payloads of the transcript", "bytes", float64(payloads))
	return r.verify()
}

func (r *rite) open() error {
	var err error
	if r.circuit, err = ceremony.Statement(); err != nil {
		return err
	}
	o := ceremony.NewOpening(r.circuit, time.Now())
	o.Kind, o.Instance, o.Configuration = prover.KindDemo, "bench", strings.Repeat("00", 32)
	o.Coordinator, o.Contributors, o.TurnSeconds = departments[0], len(departments), 600
	for _, name := range departments {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		o.Members = append(o.Members, ceremony.Member{Name: name, Key: base64.StdEncoding.EncodeToString(public)})
		r.signers = append(r.signers, ceremony.Signer{Member: name, Key: private})
	}
	r.c, err = ceremony.Create(r.ctx, r.dir, r.circuit, o, r.signers[0])
	return err
}

// timed measures one step of the ceremony.
func (r *rite) timed(name string, work func() error) error {
	r.stage("%s", name)
	wall, processor, err := measure(1, nil, work)
	if err != nil {
		return err
	}
	r.total += wall[0]
	r.add("ceremony", name, "s", 1, []Value{{"wall", wall[0] / 1000}, {"processor", processor[0] / 1000}}, "", 0)
	return nil
}

func (r *rite) phase(phase int) error {
	r.one("ceremony", fmt.Sprintf("phase %d: payload", phase), "bytes", float64(r.circuit.PayloadSize(phase)))
	for _, s := range r.signers {
		var con *ceremony.Contribution
		err := r.timed(fmt.Sprintf("phase %d: contribution of %s", phase, s.Member), func() error {
			task, err := r.c.Task()
			if err != nil {
				return err
			}
			con, err = ceremony.Contribute(r.ctx, r.circuit, task, s, time.Now(), nil)
			return err
		})
		if err != nil {
			return err
		}
		err = r.timed(fmt.Sprintf("phase %d: its verification", phase), func() error { return r.c.Add(r.ctx, con, nil) })
		if err != nil {
			return err
		}
	}
	name := "phase 1: sealing it, opening phase 2"
	if phase == 2 {
		name = "phase 2: sealing it"
	}
	return r.timed(name, func() error { _, err := r.endPhase(); return err })
}

// endPhase closes and seals the phase.
func (r *rite) endPhase() (*ceremony.Result, error) {
	now := time.Now().UTC()
	if err := r.c.ClosePhase(now, now); err != nil {
		return nil, err
	}
	return r.c.Seal(r.ctx, []byte("bench"), now.Add(time.Second), hashBeacon, func(s string) { r.stage("  %s", s) })
}

// hashBeacon stands for a ledger's.
func hashBeacon(evidence []byte, _ time.Time) ([]byte, error) {
	sum := sha256.Sum256(evidence)
	return sum[:], nil
}

func (r *rite) verify() error {
	before := r.total
	var res *ceremony.Result
	err := r.timed("verification of the whole transcript", func() (err error) {
		res, err = ceremony.Verify(r.ctx, r.dir, r.circuit, hashBeacon, func(s string) { r.stage("  %s", s) })
		return err
	})
	r.total = before
	if err != nil {
		return err
	}
	keys, err := res.Store(r.ctx, filepath.Join(r.bench.dir, "ceremony-keys"), time.Now())
	if err != nil {
		return err
	}
	again, err := prover.Load(r.ctx, filepath.Join(r.bench.dir, "ceremony-keys"), nil)
	if err != nil {
		return err
	}
	if !bytes.Equal(again.VerifyingKey(), keys.VerifyingKey()) || again.Metadata().Transcript != r.c.Transcript().Digest() {
		return fmt.Errorf("the keys that were stored are not those of the ceremony")
	}
	return nil
}
