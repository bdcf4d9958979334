package ceremony

import (
	"bytes"
	"context"
	"errors"
	"testing"
)

// What update makes, gnark reads, spells the same and verifies, in both phases and one after another.
func TestUpdateIsAContribution(t *testing.T) {
	c := small()
	before, err := c.beginning()
	if err != nil {
		t.Fatal(err)
	}
	for phase := 1; phase <= 2; phase++ {
		for range 2 {
			base, err := before.encode()
			if err != nil {
				t.Fatal(err)
			}
			kept := bytes.Clone(base)
			payload, err := c.update(context.Background(), phase, base)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(base, kept) {
				t.Error("the state before was changed")
			}
			if before, err = c.accept(before, payload); err != nil {
				t.Fatalf("phase %d: %v", phase, err)
			}
			again, err := c.update(context.Background(), phase, base)
			if err != nil || bytes.Equal(again, payload) {
				t.Errorf("two contributions to one state are the same, or %v", err)
			}
		}
		if phase == 1 {
			srs, err := c.sealFirst(context.Background(), before, bytes.Repeat([]byte{7}, 32), nil)
			if err != nil {
				t.Fatal(err)
			}
			before = srs.begin
		}
	}
}

func TestUpdateRefuses(t *testing.T) {
	c := small()
	begin, err := c.beginning()
	if err != nil {
		t.Fatal(err)
	}
	base, err := begin.encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.layout(1).points[:4] {
		for _, at := range []int64{p.at, p.at + (p.n-1)*p.size} {
			bad := bytes.Clone(base)
			copy(bad[at:], bytes.Repeat([]byte{0x9f}, int(p.size))) // x is no element of the field
			var refused *Refused
			if _, err := c.update(context.Background(), 1, bad); !errors.As(err, &refused) || refused.Reason != ReasonPoints {
				t.Errorf("a point that is none at byte %d: %v", at, err)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.update(ctx, 1, base); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that ended: %v", err)
	}
}
