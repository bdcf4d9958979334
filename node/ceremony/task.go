package ceremony

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/grille-gateway/grille/node/logkey"
	"github.com/grille-gateway/grille/node/peer"
	"github.com/grille-gateway/grille/prover"
	rules "github.com/grille-gateway/grille/prover/ceremony"
)

// The tasks of a member.
const (
	taskContribute = "contribute"
	taskVerify     = "verify"
	taskFetch      = "fetch"
)

// task is what this gateway does in one ceremony beside coordinating it.
type task struct {
	mu     sync.Mutex // guards what follows
	kind   string     // "": none
	phases []int      // of contribute
	adopt  bool       // of verify
	stage  string
	fault  string // why the last one ended without success
}

func (t *task) told(stage string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stage = stage
}

// start begins a task in a ceremony unless one is under way. It is false if another kind is.
func (s *Service) start(name string, want *task, run func(ctx context.Context, t *task) error) (begun bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tasks[name]; t != nil {
		t.mu.Lock()
		kind, phases, adopt := t.kind, t.phases, t.adopt
		t.mu.Unlock()
		if kind != "" {
			return kind == want.kind && slices.Equal(phases, want.phases) && adopt == want.adopt
		}
	}
	log := s.o.Logger.With(logkey.Ceremony, short(name), logkey.Operation, want.kind)
	kind := want.kind
	s.tasks[name] = want
	return s.beginLocked(func(ctx context.Context) {
		err := run(ctx, want)
		if err != nil && ctx.Err() == nil {
			log.Warn("a task of the ceremony failed", logkey.Error, err)
		} else if err == nil {
			log.Info("a task of the ceremony is done")
		}
		want.mu.Lock()
		defer want.mu.Unlock()
		want.kind, want.stage = "", ""
		if err != nil {
			want.fault = kind + ": " + err.Error()
		}
	})
}

// contribute makes this member's contributions to the given phases when its turns come.
func (s *Service) contribute(ctx context.Context, t *task, coordinator, name string, phases []int) error {
	ctx, stop := context.WithCancel(ctx)
	var staying sync.WaitGroup
	staying.Go(func() { s.stay(ctx, coordinator, name) })
	defer func() { stop(); staying.Wait() }()
	var seen uint64
	var checked *rules.Follower
	for {
		p, err := s.askFor(ctx, coordinator, question{Version: 1, Ceremony: name, There: true, Seen: seen, Wait: maxWait})
		if err != nil {
			return err
		}
		transcript, err := s.sync(ctx, coordinator, p)
		if err != nil {
			return err
		}
		seen = p.Mark
		left := s.left(transcript, phases)
		if len(left) == 0 {
			return nil
		}
		if checked, err = s.follow(ctx, t, checked, coordinator, transcript); err != nil {
			return fmt.Errorf("the transcript so far does not verify, and is not contributed to: %w", err)
		}
		turn := transcript.Turn()
		switch {
		case turn.Action == rules.ActDone || turn.Phase > left[0] || turn.Phase == left[0] && turn.Action == rules.ActSeal:
			return fmt.Errorf("phase %d was closed before this member contributed", left[0])
		case p.State == stateTurn && p.Turn == s.o.Member && turn.Member == s.o.Member && turn.Phase == left[0]:
			if err := s.takeTurn(ctx, t, coordinator, transcript); err != nil {
				return err
			}
			seen = 0
		case p.Turn != "":
			t.told(fmt.Sprintf("phase %d: waiting for %s (%s)", turn.Phase, p.Turn, p.State))
		default:
			t.told(fmt.Sprintf("phase %d: waiting (%s)", turn.Phase, p.State))
		}
	}
}

// stay tells the coordinator that this member is there, also while it verifies or contributes.
func (s *Service) stay(ctx context.Context, coordinator, name string) {
	for pause(ctx, maxWait*time.Second) {
		_, _ = s.ask(ctx, Caller(s.call), coordinator, question{Version: 1, Ceremony: name, There: true}) // asked again by who needs the answer
	}
}

// follow verifies what was done since it was called last, so that in its turn a member has only the last contribution left to verify. In a
// demo one process verifies for all.
func (s *Service) follow(ctx context.Context, t *task, f *rules.Follower, coordinator string, transcript *rules.Transcript) (*rules.Follower, error) {
	if transcript.Opening().Kind == prover.KindDemo {
		return nil, nil
	}
	if f == nil {
		circuit, err := s.circuit()
		if err != nil {
			return nil, err
		}
		if f, err = circuit.Follow(); err != nil {
			return nil, err
		}
	}
	err := f.Advance(ctx, transcript, func(p rules.PayloadRef) ([]byte, error) {
		return s.payload(ctx, t, coordinator, transcript.Ceremony(), p.Digest, p.Size)
	}, s.o.beacon, t.told)
	return f, err
}

// left are the phases that this member has not contributed to.
func (s *Service) left(t *rules.Transcript, phases []int) []int {
	var out []int
	for _, phase := range phases {
		if !slices.Contains(t.Contributors(phase), s.o.Member) {
			out = append(out, phase)
		}
	}
	return out
}

// takeTurn contributes once and brings the contribution to the coordinator. The secrets never leave prover/ceremony; what is sent is
// public. A contribution that was made for a turn that is over is thrown away, and the next turn makes another.
func (s *Service) takeTurn(ctx context.Context, t *task, coordinator string, transcript *rules.Transcript) error {
	circuit, err := s.circuit()
	if err != nil {
		return err
	}
	turn := transcript.Turn()
	work := &rules.Task{Transcript: transcript}
	if turn.Base != "" {
		if work.Base, err = s.payload(ctx, t, coordinator, turn.Ceremony, turn.Base, baseSize(circuit, transcript)); err != nil {
			return err
		}
	}
	made, err := rules.Contribute(ctx, circuit, work, s.signer(), s.o.Now(), func(stage string) {
		t.told(fmt.Sprintf("phase %d: %s", turn.Phase, stage))
	})
	if err != nil {
		return err
	}
	return s.submit(ctx, t, coordinator, transcript.Ceremony(), turn.Phase, made)
}

// baseSize is the length of the state that is contributed to. What phase 2 begins with has no challenge.
func baseSize(circuit *rules.Circuit, t *rules.Transcript) int64 {
	turn := t.Turn()
	size := circuit.PayloadSize(turn.Phase)
	if len(t.Contributors(turn.Phase)) == 0 {
		size -= digestSize
	}
	return size
}

// submit brings a contribution to the coordinator and waits for what becomes of it.
func (s *Service) submit(ctx context.Context, t *task, coordinator, name string, phase int, made *rules.Contribution) error {
	step, err := peek(made.Step)
	if err != nil {
		return err
	}
	id, err := parseDigest(name)
	if err != nil {
		return err
	}
	for {
		err := Caller(s.call).upload(ctx, coordinator, id, made.Payload, func(done int64) {
			t.told(fmt.Sprintf("phase %d: sending, %d %%", phase, 100*done/int64(len(made.Payload))))
		})
		hand := question{Version: 1, Ceremony: name, There: true, Step: &made.Step}
		if isRefusal(err, codeNotTurn) { // it may have been decided on before a restart, or another turn may come
			_, err := s.await(ctx, coordinator, question{Version: 1, Ceremony: name, There: true}, step.Payload)
			return err
		}
		if err != nil {
			return err
		}
		t.told(fmt.Sprintf("phase %d: %s verifies the contribution", phase, coordinator))
		decided, err := s.await(ctx, coordinator, hand, step.Payload)
		switch {
		case isRefusal(err, codeNotTurn):
			return nil
		case decided, err != nil && !isRefusal(err, codeNotHeld):
			return err
		} // else a restart of the coordinator lost it, or a part of it
	}
}

// await asks until a contribution was decided on, and returns why it was refused, if it was. It is not decided if the coordinator knows
// nothing of it.
func (s *Service) await(ctx context.Context, coordinator string, q question, payload string) (decided bool, err error) {
	for {
		p, err := s.askFor(ctx, coordinator, q)
		if err != nil {
			return false, err
		}
		if done, outcome := outcomeOf(p, payload); done {
			return true, outcome
		}
		if p.Yours == nil || p.Yours.Payload != payload {
			return false, nil
		}
		q = question{Version: 1, Ceremony: q.Ceremony, There: true, Seen: p.Mark, Wait: maxWait}
	}
}

// outcomeOf tells whether a contribution was decided on, and how.
func outcomeOf(p position, payload string) (bool, error) {
	switch {
	case p.Yours == nil || p.Yours.Payload != payload:
		return false, nil
	case p.Yours.State == handedAccepted:
		return true, nil
	case p.Yours.State == handedRefused:
		return true, fmt.Errorf("the coordinator refused the contribution: %w",
			&rules.Refused{Reason: p.Yours.Reason, Err: errors.New("see grille ceremony status")})
	}
	return false, nil
}

// isRefusal tells a refusal of a member with that code.
func isRefusal(err error, code string) bool {
	var refused *peer.RemoteError
	return errors.As(err, &refused) && refused.Code == code
}

// askFor asks a coordinator about one ceremony, again while it cannot be reached.
func (s *Service) askFor(ctx context.Context, coordinator string, q question) (position, error) {
	return s.ask(ctx, Caller(s.call).persist, coordinator, q)
}

func (s *Service) ask(ctx context.Context, call Caller, coordinator string, q question) (position, error) {
	reply, err := call(ctx, coordinator, peer.KindCeremony, mustEncode(q))
	if err != nil {
		return position{}, fmt.Errorf("asking %s about its ceremony: %w", coordinator, err)
	}
	a, err := decodeAnswer(reply)
	if err == nil && (len(a.Ceremonies) != 1 || a.Ceremonies[0].Ceremony != q.Ceremony) {
		err = fmt.Errorf("%w: an answer about something else", ErrMessage)
	}
	if err != nil {
		return position{}, fmt.Errorf("asking %s about its ceremony: %w", coordinator, err)
	}
	return a.Ceremonies[0], nil
}
