package ceremony

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/grille-gateway/grille/node/config"
	"github.com/grille-gateway/grille/prover"
	rules "github.com/grille-gateway/grille/prover/ceremony"
)

// keyDigests are the keys that a complete transcript gives: verifying, proving.
func keyDigests(t *rules.Transcript) (out [2]string) {
	for _, step := range t.Steps() {
		if step.VerifyingKey != "" {
			out = [2]string{step.VerifyingKey, step.ProvingKey}
		}
	}
	return out
}

// keyPaths are where package prover keeps the keys of a ceremony.
func (o *Options) keyPaths(t *rules.Transcript) [2]string {
	circuit := t.Opening().Circuit
	dir := filepath.Join(prover.KeyFolder(o.Keys, circuit, t.Digest()), circuit)
	return [2]string{filepath.Join(dir, "verifying.key"), filepath.Join(dir, "proving.key")}
}

// noted says whether the keys of a ceremony are in the key folder with the note of its verification.
func (o *Options) noted(t *rules.Transcript) bool {
	circuit := t.Opening().Circuit
	v, err := prover.ReadVerification(prover.KeyFolder(o.Keys, circuit, t.Digest()), circuit)
	return err == nil && v.Transcript == t.Digest()
}

// findKeys tells the sizes of the keys if those of this ceremony are in the key folder. Others may adopt them in a demo; whether they are
// the right ones is seen by their SHA-256.
func (c *coordinator) findKeys() {
	t := c.ceremony.Transcript()
	if !c.o.noted(t) {
		return
	}
	var sizes [2]int64
	for i, path := range c.o.keyPaths(t) {
		info, err := os.Stat(path)
		if err != nil {
			return
		}
		sizes[i] = info.Size()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told.Keys = sizes
}

// keyPart reads a part of one of the ceremony's keys.
func (c *coordinator) keyPart(f fetch) ([]byte, error) {
	t := c.ceremony.Transcript()
	if !t.Complete() {
		return nil, errNotHeld
	}
	paths := c.o.keyPaths(t)
	for i, name := range keyDigests(t) {
		if name == f.File.String() {
			return partOf(paths[i], f)
		}
	}
	return nil, errNotHeld
}

// adopt takes over the keys that the coordinator verified, in a demo: by their SHA-256, which the transcript that it signed says.
func (s *Service) adopt(ctx context.Context, t *task, transcript *rules.Transcript) error {
	name, coordinator := transcript.Ceremony(), transcript.Opening().Coordinator
	p, err := s.askFor(ctx, coordinator, question{Version: 1, Ceremony: name})
	if err != nil {
		return err
	}
	if p.Keys[0] == 0 {
		return fmt.Errorf("adopting keys: %s has not verified the transcript", coordinator)
	}
	var keys [2][]byte
	for i, digest := range keyDigests(transcript) {
		id, err := parseDigest(digest)
		if err != nil {
			return err
		}
		t.told("fetching the keys")
		if keys[i], err = Caller(s.call).download(ctx, coordinator, filepath.Join(s.dir(name), "incoming"), id, p.Keys[i], func(int64) {}); err != nil {
			return err
		}
	}
	t.told("storing the keys")
	if err := prover.Adopt(ctx, s.o.Keys, noteOf(transcript, s.o), keys[0], keys[1]); err != nil {
		return err
	}
	if err := config.Replace(filepath.Join(s.dir(name), adoptedFile), nil, 0o600); err != nil {
		return fmt.Errorf("noting the adoption: %w", err)
	}
	if s.o.Stored != nil {
		s.o.Stored(ctx)
	}
	return nil
}

// noteOf is the note beside keys that were adopted.
func noteOf(t *rules.Transcript, o Options) prover.Verification {
	opening, keys := t.Opening(), keyDigests(t)
	v := prover.Verification{Ceremony: t.Ceremony(), Transcript: t.Digest(), Circuit: opening.Circuit, VerifyingKey: keys[0],
		ProvingKey: keys[1], Kind: opening.Kind, Contributors: opening.Contributors, Verified: o.Now().UTC().Format("2006-01-02T15:04:05Z")}
	for _, step := range t.Steps() {
		if step.Kind == rules.StepContribution {
			v.Phases[step.Phase-1] = append(v.Phases[step.Phase-1], prover.Contribution{Member: step.Member, SHA256: step.Payload})
		}
	}
	return v
}
