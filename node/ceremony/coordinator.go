package ceremony

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/grille-gateway/grille/node/logkey"
	rules "github.com/grille-gateway/grille/prover/ceremony"
)

const (
	// thereFor is how long a member counts as there after it last asked: it asks again within maxWait.
	thereFor = 40 * time.Second
	// faultRest is how long a coordinator rests after a fault of its own, such as a full disk.
	faultRest = 10 * time.Second
	// keptTranscripts is how many versions of the transcript can be fetched, for those who began before the last steps.
	keptTranscripts = 8
	// beaconAsk is how often heads are asked for that are missing.
	beaconAsk = 500 * time.Millisecond
)

// coordinator runs one ceremony that this gateway opened:
//
//	         +--------- pass (absent, or refused with its reason) <---+
//	         v                                                        |
//	open: turn of a member -> its bytes -> its step -> verified -> accepted
//	         |
//	         +-- everybody had a turn, enough contributed, nobody late is there --> closed
//	closed: the announced time -> heads of the logs -> sealed -> phase 2, or done
//
// Everything that others may rely on is in the transcript, which is on disk before it is told. A restart loses the time of the present
// turn, which begins anew, and who is there; half a contribution stays on disk.
type coordinator struct {
	o        *Options
	log      *slog.Logger
	dir      string
	settings settings
	circuit  *rules.Circuit
	ceremony *rules.Ceremony // used by run alone
	wake     chan struct{}
	taking   sync.Mutex // held while a part is kept

	mu         sync.Mutex // guards what follows
	transcript *rules.Transcript
	kept       []keptFile // the newest transcripts as they are fetched, the last one now's
	told       position   // without Yours
	changed    chan struct{}
	there      map[string]time.Time
	arrived    *arrived          // handed in and not verified yet
	outcomes   map[string]handed // of the last contribution of each member
	hurry      bool              // waits for nobody who is not there
}

// keptFile is a file in memory with its SHA-256.
type keptFile struct {
	name digest
	data []byte
}

// arrived is a contribution with all its bytes.
type arrived struct {
	member       string
	contribution *rules.Contribution
}

// settings are what a coordinator keeps beside the transcript.
type settings struct {
	BeaconDelaySeconds int `json:"beacon_delay_seconds"`
}

func newCoordinator(o *Options, dir string, s settings, circuit *rules.Circuit, c *rules.Ceremony) *coordinator {
	co := &coordinator{o: o, log: o.Logger.With(logkey.Ceremony, short(c.Transcript().Ceremony())), dir: dir, settings: s, circuit: circuit, ceremony: c,
		wake: make(chan struct{}, 1), changed: make(chan struct{}), there: make(map[string]time.Time), outcomes: make(map[string]handed)}
	co.told.Mark = uint64(o.Now().UnixMicro()) // so that a mark from before a restart is no mark of this process
	co.publish()
	return co
}

// nudge wakes the run loop.
func (c *coordinator) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// publish takes over the transcript as it is on disk now.
func (c *coordinator) publish() {
	t := c.ceremony.Transcript()
	data := t.Encode()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transcript = t
	name := digest(sha256.Sum256(data))
	c.kept = append(slices.Clone(c.kept[max(0, len(c.kept)-keptTranscripts+1):]), keptFile{name, data})
	c.told.Ceremony, c.told.Transcript, c.told.Size = t.Ceremony(), name.String(), int64(len(data))
	c.markLocked()
}

// markLocked tells those who wait that something changed.
func (c *coordinator) markLocked() {
	c.told.Mark++
	close(c.changed)
	c.changed = make(chan struct{})
}

// tell says what the ceremony waits for.
func (c *coordinator) tell(state, turn string, until time.Time, fault string) {
	at := ""
	if !until.IsZero() {
		at = formatTime(until)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := c.waitingLocked()
	if c.told.State == state && c.told.Turn == turn && c.told.Until == at && c.told.Fault == fault && slices.Equal(c.told.Waiting, waiting) {
		return
	}
	c.told.State, c.told.Turn, c.told.Until, c.told.Fault, c.told.Waiting = state, turn, at, fault, waiting
	c.markLocked()
}

// waitingLocked are the members that are there.
func (c *coordinator) waitingLocked() []string {
	var out []string
	for _, m := range c.transcript.Opening().Members {
		if c.isThereLocked(m.Name) {
			out = append(out, m.Name)
		}
	}
	return out
}

func (c *coordinator) isThereLocked(member string) bool {
	last, ok := c.there[member]
	return ok && c.o.Now().Sub(last) < thereFor
}

func (c *coordinator) isThere(member string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isThereLocked(member)
}

// run takes the ceremony on until it is done or ctx ends.
func (c *coordinator) run(ctx context.Context) {
	clock := turnClock{index: -1}
	var heads *gathering
	for ctx.Err() == nil {
		rest, err := c.advance(ctx, &clock, &heads)
		if err != nil && ctx.Err() == nil {
			c.log.Error("the ceremony does not go on", logkey.Error, err)
			c.tell(c.state(), "", time.Time{}, "the coordinator cannot go on; its log says why")
			rest = faultRest
		}
		if c.state() == stateDone {
			return
		}
		timer := time.NewTimer(rest)
		select {
		case <-c.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func (c *coordinator) state() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told.State
}

// turnClock remembers since when it is whose turn.
type turnClock struct {
	index int // of the step that is waited for
	until time.Time
}

// advance does what comes next, and returns how long it may rest then.
func (c *coordinator) advance(ctx context.Context, clock *turnClock, heads **gathering) (time.Duration, error) {
	turn := c.ceremony.Transcript().Turn()
	switch turn.Action {
	case rules.ActDone:
		c.findKeys()
		c.tell(stateDone, "", time.Time{}, "")
		return 0, nil
	case rules.ActSeal:
		return c.advanceBeacon(ctx, turn, heads)
	}
	if a := c.takeArrived(); a != nil {
		return 0, c.verify(ctx, a)
	}
	return c.advanceTurn(turn, clock)
}

// advanceTurn waits for the member whose turn it is, passes over, or closes the phase.
func (c *coordinator) advanceTurn(turn rules.Turn, clock *turnClock) (time.Duration, error) {
	now, s := c.o.Now(), standingOf(c.ceremony.Transcript(), turn)
	d := s.decide(c.isThere)
	switch {
	case d.Close:
		err := c.ceremony.ClosePhase(now, now.Add(time.Duration(c.settings.BeaconDelaySeconds)*time.Second))
		return 0, c.stepped(err)
	case d.Pass != "":
		return 0, c.stepped(c.ceremony.Pass(d.Pass, rules.ReasonAbsent, now))
	case d.Wait == "":
		fault := ""
		if len(s.late()) == 0 && !s.enough {
			fault = "too few members contributed, and none may come any more: open another ceremony"
		}
		c.tell(stateOpen, "", time.Time{}, fault)
		return thereFor, nil
	}
	if clock.index != turn.Index {
		opening := c.ceremony.Transcript().Opening()
		clock.index, clock.until = turn.Index, now.Add(opening.Turn())
	}
	if !now.Before(clock.until) || c.hurried() && !c.isThere(d.Wait) {
		c.log.Warn("a member is passed over", logkey.Member, d.Wait, logkey.Code, string(rules.ReasonAbsent))
		return 0, c.stepped(c.ceremony.Pass(d.Wait, rules.ReasonAbsent, now))
	}
	c.tell(stateTurn, d.Wait, clock.until, "")
	return min(clock.until.Sub(now), thereFor/4), nil // who is there may leave meanwhile
}

// stepped ends a step of the coordinator's: half a contribution of whose turn was over is removed.
func (c *coordinator) stepped(err error) error {
	if err != nil {
		return err
	}
	c.publish()
	return c.clearIncoming()
}

func (c *coordinator) clearIncoming() error {
	if err := os.RemoveAll(c.incoming()); err != nil {
		return fmt.Errorf("removing what was sent: %w", err)
	}
	return nil
}

func (c *coordinator) incoming() string { return filepath.Join(c.dir, "incoming") }

// verify accepts a contribution or passes its member over with the reason. The ceremony goes on either way.
func (c *coordinator) verify(ctx context.Context, a *arrived) error {
	c.tell(stateChecking, a.member, time.Time{}, "")
	began := c.o.Now()
	err := c.add(ctx, a)
	var refused *rules.Refused
	switch {
	case err == nil:
		c.log.Info("a contribution was accepted", logkey.Member, a.member, logkey.Duration, c.o.Now().Sub(began).Seconds())
		c.outcome(a.member, handedAccepted, "")
		return c.stepped(nil)
	case !errors.As(err, &refused):
		c.putBack(a)
		return err
	}
	c.log.Warn("a contribution was refused", logkey.Member, a.member, logkey.Code, string(refused.Reason))
	if err := c.ceremony.Pass(a.member, refused.Reason, c.o.Now()); err != nil {
		c.putBack(a)
		return err
	}
	c.outcome(a.member, handedRefused, refused.Reason)
	return c.stepped(nil)
}

// add verifies a contribution. One of another length than all have was not taken in, and is refused for its step.
func (c *coordinator) add(ctx context.Context, a *arrived) error {
	if a.contribution.Payload != nil {
		return c.ceremony.Add(ctx, a.contribution, nil)
	}
	if _, err := c.ceremony.Transcript().With(a.contribution.Step); err != nil {
		return err
	}
	return &rules.Refused{Reason: rules.ReasonLength, Err: errors.New("it is not as long as a contribution")}
}

// outcome notes what became of a member's last contribution.
func (c *coordinator) outcome(member, state string, reason rules.Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.outcomes[member]
	h.State, h.Reason = state, reason
	c.outcomes[member] = h
	if state == handedRefused {
		delete(c.there, member) // it comes again when it says so
	}
	c.markLocked()
}

func (c *coordinator) takeArrived() *arrived {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.arrived
	c.arrived = nil
	return a
}

// putBack keeps a contribution that could not be decided on for a fault here: its member was told that it is being verified.
func (c *coordinator) putBack(a *arrived) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arrived = a
}

func (c *coordinator) hurried() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hurry
}

// standingOf reads the open phase's steps.
func standingOf(t *rules.Transcript, turn rules.Turn) standing {
	s := standing{next: turn.Member, done: t.Contributors(turn.Phase), passed: map[string]int{}, failed: map[string]int{},
		enough: turn.Missing == 0}
	for _, m := range t.Opening().Members {
		s.order = append(s.order, m.Name)
	}
	for _, step := range t.Steps() {
		if step.Phase == turn.Phase && step.Kind == rules.StepPass {
			s.passed[step.Member]++
			if step.Reason != rules.ReasonAbsent {
				s.failed[step.Member]++
			}
		}
	}
	return s
}

// short is enough of a digest for people to tell ceremonies apart.
func short(name string) string { return name[:min(12, len(name))] }
