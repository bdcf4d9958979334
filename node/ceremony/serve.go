package ceremony

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	rules "github.com/grille-gateway/grille/prover/ceremony"
)

// answer tells a member how the ceremony stands, at once or when something changed, after it took what the question brings.
func (c *coordinator) answer(ctx context.Context, from string, q question) (position, error) {
	opening := c.opening()
	if _, takesPart := opening.Member(from); !takesPart && (q.There || q.Step != nil) {
		return position{}, &refusal{codeNotMember, fmt.Errorf("%s takes no part in the ceremony", from)}
	}
	if q.Step != nil {
		if err := c.hand(from, *q.Step); err != nil {
			return position{}, err
		}
	}
	timeout := time.NewTimer(time.Duration(q.Wait) * time.Second)
	defer timeout.Stop()
	for there := q.There; ; there = false { // it is there because it asked, not because it is answered
		p, changed := c.look(from, there)
		if p.Mark != q.Seen || q.Wait == 0 {
			return p, nil
		}
		select {
		case <-changed:
		case <-timeout.C:
			p, _ = c.look(from, false)
			return p, nil
		case <-ctx.Done():
			return position{}, ctx.Err()
		}
	}
}

// look returns how things stand and when they do not any more.
func (c *coordinator) look(from string, there bool) (position, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if there {
		came := !c.isThereLocked(from)
		c.there[from] = c.o.Now()
		if came {
			c.nudge()
		}
	}
	p := c.told
	if h, ok := c.outcomes[from]; ok {
		p.Yours = &h
	}
	return p, c.changed
}

func (c *coordinator) opening() rules.Opening {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.transcript.Opening()
}

// waitsFor returns the turn if it is that member's now and nothing of it was handed in yet.
func (c *coordinator) waitsFor(member string) (rules.Turn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	turn := c.transcript.Turn()
	if c.told.State != stateTurn || c.told.Turn != member || turn.Member != member || c.arrived != nil {
		return turn, &refusal{codeNotTurn, fmt.Errorf("it is not the turn of %s", member)}
	}
	return turn, nil
}

// hand takes a contribution whose bytes are here. What is wrong with the step itself is found by the loop, which records it.
func (c *coordinator) hand(from string, signed rules.Signed) error {
	if h, ok := c.handedBefore(from, signed); ok && h.State != handedRefused {
		return nil // the reply got lost
	}
	turn, err := c.waitsFor(from)
	if err != nil {
		return err
	}
	a := &arrived{member: from, contribution: &rules.Contribution{Step: signed}}
	step, err := peek(signed)
	if err == nil && step.Size == c.circuit.PayloadSize(turn.Phase) { // any other is refused, without its bytes
		p, err := c.partial(from, step.Payload, step.Size)
		if err != nil {
			return err
		}
		if a.contribution.Payload, err = p.take(); err != nil {
			return &refusal{codeNotHeld, err}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.arrived != nil || c.told.State != stateTurn || c.told.Turn != from {
		return &refusal{codeNotTurn, errors.New("the turn is over")}
	}
	c.arrived = a
	c.outcomes[from] = handed{Payload: step.Payload, State: handedChecking}
	c.markLocked()
	c.nudge()
	return nil
}

// handedBefore tells what became of a contribution that was handed in before.
func (c *coordinator) handedBefore(from string, signed rules.Signed) (handed, bool) {
	step, err := peek(signed)
	c.mu.Lock()
	defer c.mu.Unlock()
	h, ok := c.outcomes[from]
	return h, ok && err == nil && h.Payload == step.Payload
}

// peek reads a step before anything of it is checked.
func peek(signed rules.Signed) (rules.Step, error) {
	var step rules.Step
	err := json.Unmarshal([]byte(signed.Body), &step)
	return step, err
}

// partial is where a member's contribution arrives. There is one at a time: another one's parts are removed.
func (c *coordinator) partial(from, payload string, size int64) (*partial, error) {
	name, err := parseDigest(payload)
	if err != nil {
		return nil, &refusal{codeMalformed, err}
	}
	opening := c.opening()
	number := slices.IndexFunc(opening.Members, func(m rules.Member) bool { return m.Name == from })
	p, err := newPartial(c.incoming(), strconv.Itoa(number)+"-", name, size)
	if err != nil {
		return nil, err
	}
	return p, p.alone()
}

// take keeps a part of a contribution, of the member whose turn it is and of the one length that contributions have.
func (c *coordinator) take(from string, o offer) ([]byte, error) {
	turn, err := c.waitsFor(from)
	if err != nil {
		return nil, err
	}
	if int64(o.Size) != c.circuit.PayloadSize(turn.Phase) {
		return nil, &refusal{string(rules.ReasonLength), fmt.Errorf("a contribution to phase %d has %d bytes", turn.Phase, c.circuit.PayloadSize(turn.Phase))}
	}
	c.taking.Lock()
	defer c.taking.Unlock()
	p, err := c.partial(from, o.File.String(), int64(o.Size))
	if err != nil {
		return nil, err
	}
	held, err := p.add(int64(o.Offset), o.Part)
	if err != nil {
		return nil, err
	}
	return encodeHeld(uint64(held)), nil
}

// part reads a part of the transcript, or of a payload that it names.
func (c *coordinator) part(f fetch) ([]byte, error) {
	c.mu.Lock()
	kept := c.kept // never changed in place
	c.mu.Unlock()
	for _, k := range kept {
		if k.name == f.File {
			return cut(bytes.NewReader(k.data), int64(len(k.data)), f)
		}
	}
	part, err := partOf(payloadPath(c.dir, f.File), f)
	if errors.Is(err, errNotHeld) {
		return c.keyPart(f)
	}
	return part, err
}

var errNotHeld = &refusal{codeNotHeld, errors.New("no such file here, or the part is beyond its end")}

// partOf reads a part of a file.
func partOf(path string, f fetch) ([]byte, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNotHeld
	}
	if err != nil {
		return nil, fmt.Errorf("reading a file of the ceremony: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading a file of the ceremony: %w", err)
	}
	return cut(file, info.Size(), f)
}

func cut(r io.ReaderAt, size int64, f fetch) ([]byte, error) {
	if int64(f.Offset) > size-int64(f.Length) {
		return nil, errNotHeld
	}
	part := make([]byte, f.Length)
	if _, err := r.ReadAt(part, int64(f.Offset)); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading a file of the ceremony: %w", err)
	}
	return part, nil
}

// payloadPath is where prover/ceremony keeps a payload.
func payloadPath(dir string, name digest) string {
	return filepath.Join(dir, "payloads", name.String()+".bin")
}
