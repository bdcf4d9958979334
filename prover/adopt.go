package prover

import (
	"context"
	"fmt"
)

// Adopt stores keys that another process made and verified, with a note that says so: those of a demo, in which one process verifies for
// all. They must be the ones that the note names. They stand beside keys of another ceremony, as with StoreBeside. The error is ErrKeys or ErrVerifyingKey for others, ErrNote for another kind, or the
// disk's.
func Adopt(ctx context.Context, dir string, v Verification, verifying, proving []byte) error {
	if v.Kind != KindDemo {
		return fmt.Errorf("adopting keys: %w: keys of kind %s are verified here or not used", ErrNote, v.Kind)
	}
	if err := v.check(); err != nil {
		return fmt.Errorf("adopting keys: %w", err)
	}
	if digest(verifying) != v.VerifyingKey || digest(proving) != v.ProvingKey {
		return fmt.Errorf("adopting keys: %w: they are not those of the transcript", ErrKeys)
	}
	k, err := compile(nil)
	if err != nil {
		return err
	}
	parsed, err := NewVerifier(verifying)
	if err != nil {
		return fmt.Errorf("adopting keys: %w", err)
	}
	if parsed.Kind() != v.Kind || parsed.CircuitID() != v.Circuit || v.Circuit != k.metadata.CircuitID {
		return fmt.Errorf("adopting keys: %w: they are of another circuit or kind", ErrKeys)
	}
	m := k.metadata
	m.Kind, m.VerifyingKeySHA256, m.ProvingKeySHA256, m.Transcript = v.Kind, v.VerifyingKey, v.ProvingKey, v.Transcript
	k.metadata = m
	of, err := k.beside(ctx, dir, func(c *keyCache) error { return c.writeFiles(m, verifying, proving) })
	if err != nil {
		return err
	}
	return WriteVerification(of, v)
}
