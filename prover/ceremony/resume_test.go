package ceremony

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// resume ends the process and begins another, as far as a test can.
func (r *run) resume() {
	r.t.Helper()
	r.Close()
	c, err := Resume(context.Background(), r.dir, small(), signer(names[0]))
	r.must(err)
	r.Ceremony = c
}

// A coordinator that is started again after each step ends with the same kind of keys, and says that it did not verify all itself.
func TestResumeAfterEveryStep(t *testing.T) {
	r := begin(t, nil)
	var res *Result
	for range 2 {
		for _, n := range names[:3] {
			r.contribute(n)
			r.resume()
		}
		r.must(r.Pass(names[3], ReasonAbsent, clock))
		r.resume()
		r.must(r.ClosePhase(clock, clock))
		r.resume()
		var err error
		res, err = r.Seal(context.Background(), heads(clock), clock, ledgerBeacon, nil)
		r.must(err)
		r.resume()
	}
	proves(t, res)
	if _, err := res.Store(context.Background(), t.TempDir(), clock); res.Whole || !errors.Is(err, ErrNotWhole) {
		t.Error("keys that nobody verified are stored:", err)
	}
	again, err := verify(r.dir)
	r.must(err)
	if again.Verification.Transcript != res.Transcript || !again.Whole {
		t.Errorf("%+v, then %+v", res.Verification, again.Verification)
	}
}

// A crash between a payload and the transcript that names it leaves the ceremony before the contribution.
func TestCrashBetweenPayloadAndTranscript(t *testing.T) {
	r := begin(t, nil)
	r.contribute(names[0])
	con := r.make(names[1])
	_, err := r.folder.PutPayload(con.Payload)
	r.must(err)
	r.must(os.WriteFile(r.dir+"/transcript.json.1.tmp", []byte("half"), 0o600))
	r.must(os.WriteFile(r.dir+"/payloads/half.bin.2.tmp", []byte("half"), 0o600))
	r.resume()
	for _, pattern := range []string{"/*.tmp", "/payloads/*.tmp"} {
		if left, err := filepath.Glob(r.dir + pattern); err != nil || len(left) != 0 {
			t.Error("left:", left, err)
		}
	}
	if turn := r.Transcript().Turn(); turn.Member != names[1] || turn.Index != 1 {
		t.Errorf("%+v", turn)
	}
	r.must(r.Add(context.Background(), con, nil))
	r.contribute(names[2:]...)
}

// An accepted state that is damaged on disk is not gone on from.
func TestResumeFromDamage(t *testing.T) {
	r := begin(t, nil)
	r.contribute(names[0])
	con := r.make(names[1])
	path := filepath.Join(r.dir, payloadsDir, r.Transcript().Turn().Base+".bin")
	data, err := os.ReadFile(path)
	r.must(err)
	damaged := bytes.Clone(data)
	damaged[1000] ^= 1
	r.must(os.WriteFile(path, damaged, 0o600))
	r.resume()
	ownFault := func(err error) {
		t.Helper()
		if refused := (*Refused)(nil); !errors.Is(err, ErrDamaged) || errors.As(err, &refused) {
			t.Errorf("a member would be blamed: %v", err)
		}
	}
	ownFault(r.Add(context.Background(), con, nil))
	_, err = r.Task()
	ownFault(err)
	r.must(os.Remove(path))
	ownFault(r.Add(context.Background(), con, nil))
	r.must(os.WriteFile(path, data, 0o600))
	r.must(r.Add(context.Background(), con, nil))
}

func TestCreateRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Opening)
		signer Signer
		want   Reason
	}{
		{"no members", func(o *Opening) { o.Members = nil }, signer(names[0]), ReasonOpening},
		{"too many members", func(o *Opening) {
			for len(o.Members) <= MaxMembers {
				o.Members = append(o.Members, Member{strings.Repeat("x", len(o.Members)), publicKey(strings.Repeat("x", len(o.Members)))})
			}
		}, signer(names[0]), ReasonOpening},
		{"another domain", func(o *Opening) { o.Domain *= 2 }, signer(names[0]), ReasonDomain},
		{"another circuit", func(o *Opening) { o.Circuit = sum(nil) }, signer(names[0]), ReasonCircuit},
		{"another's signature", nil, signer(names[1]), ReasonSignature},
		{"another's name", func(o *Opening) { o.Members[1].Key = "" }, Signer{names[1], signer(names[0]).Key}, ReasonOpening},
		{"not the coordinator", nil, Signer{names[1], signer(names[0]).Key}, ReasonMember},
	} {
		dir := t.TempDir()
		o := testOpening(small())
		if c.change != nil {
			c.change(&o)
		}
		_, err := Create(context.Background(), dir, small(), o, c.signer)
		wantReason(t, c.name, err, c.want)
		if _, err := Resume(context.Background(), dir, small(), signer(names[0])); !errors.Is(err, ErrNoTranscript) {
			t.Errorf("%s: a ceremony was left: %v", c.name, err)
		}
	}
	r := begin(t, nil)
	if _, err := Resume(context.Background(), r.dir, large(), signer(names[0])); err == nil {
		t.Error("resumed with another circuit")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Resume(ctx, r.dir, small(), signer(names[0])); !errors.Is(err, context.Canceled) {
		t.Error("two processes have one folder:", err)
	}
	r.Close()
	if _, err := Create(context.Background(), r.dir, small(), testOpening(small()), signer(names[0])); err == nil {
		t.Error("a ceremony was opened over another")
	}
	_, err := Resume(context.Background(), r.dir, small(), signer(names[1]))
	wantReason(t, "resumed by another", err, ReasonMember)
}

// Whoever is interrupted begins anew, with other secrets.
func TestContributeAgain(t *testing.T) {
	r := begin(t, nil)
	r.contribute(names[0])
	first, second := r.make(names[1]), r.make(names[1])
	l := small().layout(1)
	for _, m := range l.marks {
		if bytes.Equal(first.Payload[m.at:m.at+m.size], second.Payload[m.at:m.at+m.size]) {
			t.Error(m.name, "is the same twice")
		}
	}
	task, err := r.Task()
	r.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := Contribute(ctx, small(), task, signer(names[1]), clock, func(string) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	r.must(r.Add(context.Background(), second, nil))
	wantReason(t, "the first, afterwards", r.Add(context.Background(), first, nil), ReasonChain)
}

func TestContributeRefuses(t *testing.T) {
	r := begin(t, nil)
	r.contribute(names[0])
	task, err := r.Task()
	r.must(err)
	try := func(what string, task *Task, c *Circuit, s Signer, want Reason) {
		t.Helper()
		_, err := Contribute(context.Background(), c, task, s, clock, nil)
		wantReason(t, what, err, want)
	}
	try("another's turn", task, small(), signer(names[2]), ReasonTurn)
	try("another key", task, small(), Signer{names[1], signer(names[2]).Key}, ReasonSignature)
	try("another circuit", task, large(), signer(names[1]), ReasonCircuit)
	try("no base", &Task{Transcript: task.Transcript}, small(), signer(names[1]), ReasonLength)
	damaged := bytes.Clone(task.Base)
	damaged[len(damaged)-1] ^= 1
	try("another base", &Task{Transcript: task.Transcript, Base: damaged}, small(), signer(names[1]), ReasonPayload)
	empty := begin(t, nil)
	first, err := empty.Task()
	r.must(err)
	first.Base = task.Base
	try("a base where there is none", first, small(), signer(names[0]), ReasonPayload)
}

// A seal that is interrupted when it has changed the state in memory is made again from the payload.
func TestSealAgain(t *testing.T) {
	r := begin(t, nil)
	r.contribute(names...)
	r.must(r.ClosePhase(clock, clock))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	before := r.Transcript().Digest()
	_, err := r.Seal(ctx, heads(clock), clock, ledgerBeacon, func(stage string) {
		if stage == "sealing phase 1" {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || r.Transcript().Digest() != before {
		t.Fatal(err)
	}
	_, err = r.Seal(context.Background(), heads(clock), clock, ledgerBeacon, nil)
	r.must(err)
	r.wholePhase()
	if _, err := verify(r.dir); err != nil {
		t.Error(err)
	}
}

// Others read the ceremony while a contribution is being verified.
func TestReadWhileVerifying(t *testing.T) {
	r := begin(t, nil)
	r.contribute(names[0])
	con := r.make(names[1])
	read := false
	r.must(r.Add(context.Background(), con, func(string) {
		task, err := r.Task()
		if err != nil || len(r.Transcript().Steps()) != 1 || len(task.Base) == 0 {
			t.Error(err)
		}
		read = true
	}))
	if !read {
		t.Error("nothing was told")
	}
}
