package ceremony

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"runtime"
)

// Verify re-does a whole sealed ceremony from its folder, offline: every signature and rule, every contribution of both phases, both
// seals with their beacons, and the keys, which it returns. It takes about a minute for the statement and four members on two cores,
// and watches ctx between contributions. progress, which may be nil, is told each stage in a few words. The error is a *Refused,
// ErrNoTranscript, ErrNoPayload, the context's or the disk's.
func Verify(ctx context.Context, dir string, c *Circuit, beacon Beacon, progress func(stage string)) (*Result, error) {
	f := OpenFolder(dir)
	t, err := f.Transcript()
	if err != nil {
		return nil, err
	}
	if err := t.opening.checkCircuit(c); err != nil {
		return nil, err
	}
	if !t.Complete() {
		return nil, refuse(ReasonTurn, "the ceremony is not sealed: it waits for: %s in phase %d", t.Turn().Action, t.Turn().Phase)
	}
	v := &verification{ctx: ctx, circuit: c, folder: f, transcript: t, beacon: beacon, progress: progress}
	k, err := v.run()
	if err != nil {
		return nil, err
	}
	return c.result(t, k, true), nil
}

// verification is one run of Verify.
type verification struct {
	ctx        context.Context
	circuit    *Circuit
	folder     *Folder
	transcript *Transcript
	beacon     Beacon
	progress   func(string)
}

func (v *verification) run() (*keyPair, error) {
	first, second := v.transcript.phases[0].seal, v.transcript.phases[1].seal
	beacon1, err := v.checkBeacon(1)
	if err != nil {
		return nil, err
	}
	beacon2, err := v.checkBeacon(2)
	if err != nil {
		return nil, err
	}
	begin, err := v.circuit.beginning()
	if err != nil {
		return nil, err
	}
	last, err := v.contributions(1, begin)
	if err != nil {
		return nil, err
	}
	srs, err := v.circuit.sealFirst(v.ctx, last, beacon1, v.progress)
	if err != nil {
		return nil, err
	}
	if srs.begin.hex() != first.Opens {
		return nil, refuse(ReasonBase, "phase 1 gives another state to begin phase 2 with than its seal says")
	}
	if last, err = v.contributions(2, srs.begin); err != nil {
		return nil, err
	}
	tell(v.progress, "sealing phase 2")
	k, err := v.circuit.sealSecond(v.transcript.opening.Kind, last, srs.commons, srs.evals, beacon2)
	if err != nil {
		return nil, err
	}
	if k.verifyingDigest != second.VerifyingKey || k.provingDigest != second.ProvingKey {
		return nil, refuse(ReasonKeys, "the transcript gives verifying key %s and proving key %s, its seal says others",
			k.verifyingDigest, k.provingDigest)
	}
	return k, nil
}

func (v *verification) checkBeacon(phase int) ([]byte, error) {
	p := &v.transcript.phases[phase-1]
	value, err := askBeacon(v.beacon, p.seal.EvidenceBytes(), p.close.BeaconTime())
	if err != nil {
		return nil, err
	}
	said, err := hex.DecodeString(p.seal.Beacon)
	if err != nil || !bytes.Equal(said, value) {
		return nil, refuse(ReasonBeacon, "the evidence of phase %d gives another beacon", phase)
	}
	return value, nil
}

// contributions verifies those of a phase one after another, and returns the last state.
func (v *verification) contributions(phase int, before *state) (*state, error) {
	q := &queue{v: v}
	defer q.drain()
	for i := range v.transcript.steps {
		if s := &v.transcript.steps[i]; s.Kind == StepContribution && s.Phase == phase {
			q.steps = append(q.steps, s)
		}
	}
	l := v.circuit.layout(phase)
	for i, s := range q.steps {
		tell(v.progress, fmt.Sprintf("verifying the contribution of %s to phase %d (%d of %d)", s.Member, phase, i+1, len(q.steps)))
		d := q.next()
		if d.err != nil {
			return nil, d.err
		}
		if err := v.ctx.Err(); err != nil {
			return nil, err
		}
		if err := d.state.buildsOn(before, l); err != nil {
			return nil, err
		}
		if err := before.verify(d.state); err != nil {
			return nil, err
		}
		before = d.state
	}
	return before, nil
}

// A queue reads the payloads of steps in their order. Reading, which checks the subgroup of every point, takes longer than verifying
// and one processor, and so as many are read at once as there are processors.
type queue struct {
	v      *verification
	steps  []*Step
	coming []chan decoded // of those that were begun; taken ones are nil
	taken  int
}

// decoded is a payload that was read.
type decoded struct {
	state *state
	err   error
}

// next returns the next payload.
func (q *queue) next() decoded {
	for len(q.coming) < min(len(q.steps), q.taken+runtime.GOMAXPROCS(0)) {
		out := make(chan decoded, 1)
		go q.v.read(q.steps[len(q.coming)], out)
		q.coming = append(q.coming, out)
	}
	d := <-q.coming[q.taken]
	q.coming[q.taken] = nil
	q.taken++
	return d
}

// drain waits for those that were begun and not taken: nothing outlives a verification.
func (q *queue) drain() {
	for _, out := range q.coming[q.taken:] {
		<-out
	}
}

// read fetches and decodes the payload of a step.
func (v *verification) read(step *Step, out chan<- decoded) {
	l := v.circuit.layout(step.Phase)
	payload, err := v.folder.Payload(step.Payload, l.size)
	if err != nil {
		out <- decoded{err: err}
		return
	}
	if int64(len(payload)) != step.Size {
		out <- decoded{err: refuse(ReasonPayload, "payload %s has %d bytes, its step says %d", step.Payload, len(payload), step.Size)}
		return
	}
	s, err := l.inspect(payload)
	if err == nil {
		err = v.circuit.decode(v.ctx, s, step.Phase, payload)
	}
	out <- decoded{s, err}
}
