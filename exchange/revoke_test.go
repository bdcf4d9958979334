package exchange_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/exchange/receipt"
)

// slowJournal is a member's journal on a slow disk, which knows what each frame says. A frame is noted once it is on disk.
type slowJournal struct {
	receipt.Journal
	m     *member
	begun chan struct{} // if not nil, is told when a frame begins its way to the disk

	mu     sync.Mutex
	frames []written
}

type written struct {
	kind, outcome string
	agreement     *uint64 // that the receipt is charged to
}

func (j *slowJournal) Append(frame []byte) error {
	select {
	case j.begun <- struct{}{}:
	default:
	}
	time.Sleep(400 * time.Millisecond) // the moment in which a revocation could slip in: longer than one takes
	if err := j.Journal.Append(frame); err != nil {
		return err
	}
	var w written
	err := receipt.New(receipt.Options{Member: j.m.name, Beat: time.Second, Now: j.m.w.now, Seal: sealer{m: &member{}, Vault: j.m.vault},
		LastPublished: func() (uint64, bool) { return 0, false }}).Replay(frame, func(kind string, payload []byte) error {
		var r struct {
			Outcome   string
			Agreement *uint64
		}
		w.kind = kind
		err := json.Unmarshal(payload, &r)
		w.outcome, w.agreement = r.Outcome, r.Agreement
		return err
	})
	j.mu.Lock()
	defer j.mu.Unlock()
	j.frames = append(j.frames, w)
	return err
}

func (j *slowJournal) all() []written {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.frames)
}

// TestRevokeUnderLoad revokes an agreement while many queries under it wait for their proofs, some are being proved and some are on
// their way to the disk: once Revoke returns, no receipt of an answer is written under it. Every query gets an answer or a refusal that
// says why, each with a receipt, and only answers are charged.
func TestRevokeUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var csv strings.Builder
	csv.WriteString("person,age,income,town\n")
	for i := range revokeLoad {
		fmt.Fprintf(&csv, "P-%04d,%d,1.00,Ulm\n", i, 60+i)
	}
	accept := w.furnish(csv.String(), 10, 1000)
	c := w.members[civil]
	c.halt()
	journal := &slowJournal{m: c}
	c.appending = func(j receipt.Journal) receipt.Journal { journal.Journal = j; return journal }
	c.start()
	w.eventually("the holder's head is fresh", func() bool { _, ok := c.ledger.Final(w.config.Origin(civil)); return ok })

	outcomes, answered := make(chan string, revokeLoad), make(chan struct{}, revokeLoad)
	var all sync.WaitGroup
	for i := range revokeLoad {
		request := w.request(w.question(fmt.Sprintf("P-%04d", i)), nil)
		all.Go(func() {
			got, err := outcome(c.holder.Answer(t.Context(), benefits, request))
			if err != nil {
				t.Error(err)
			}
			outcomes <- got
			answered <- struct{}{}
		})
	}
	for range 3 {
		<-answered // so that it is under way
	}
	if _, err := c.holder.Revoke(t.Context(), accept, "ended"); err != nil {
		t.Fatal(err)
	}
	before := len(journal.all())
	all.Wait()
	close(outcomes)

	told := map[string]int{}
	for got := range outcomes {
		told[got]++
	}
	logged := map[string]int{}
	for i, f := range journal.all() {
		if f.kind != holder.KindAnswer {
			continue
		}
		if f.agreement != nil && *f.agreement == accept {
			if i >= before {
				t.Errorf("an answer (%s) was receipted under the agreement after Revoke had returned", f.outcome)
			}
			logged["answered"]++
		} else {
			logged[f.outcome]++
		}
	}
	refused := told[holder.CodeWithdrawn] + told["no_agreement"]
	t.Logf("%v", told)
	switch {
	case refused+told["answered"] != revokeLoad:
		t.Errorf("other outcomes than answers and refusals for the ended right: %v", told)
	case told["answered"] < 3 || told[holder.CodeWithdrawn] == 0:
		t.Errorf("the revocation did not meet queries under way: %v", told)
	case logged["answered"] != told["answered"] || logged[receipt.OutcomeRefused] != refused:
		t.Errorf("receipts %v for outcomes %v", logged, told)
	case c.holder.Used(accept) != told["answered"]:
		t.Errorf("%d charged for %d answers", c.holder.Used(accept), told["answered"])
	}
}

// TestRevokeAndSecondClaim revokes a right while one claim is on its way to the disk and a second one for the same person waits for what
// comes of it. That somebody claimed is told, and charged, under a right only: after the revocation it is not.
func TestRevokeAndSecondClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.scoped(10, 100, "2026")
	accept := w.agreement()
	c := w.members[civil]
	c.halt()
	journal := &slowJournal{m: c, begun: make(chan struct{}, 1)}
	c.appending = func(j receipt.Journal) receipt.Journal { journal.Journal = j; return journal }
	c.start()
	w.eventually("the holder's head is fresh", func() bool { _, ok := c.ledger.Final(w.config.Origin(civil)); return ok })
	outcomes := make(chan string, 2)
	for range 2 {
		request := w.request(w.claiming("P-0001", "2026"), nil)
		go func() {
			got, err := outcome(c.holder.Answer(t.Context(), benefits, request))
			if err != nil {
				t.Error(err)
			}
			outcomes <- got
		}()
	}
	<-journal.begun
	if _, err := c.holder.Revoke(t.Context(), accept, "ended"); err != nil {
		t.Fatal(err)
	}
	before := len(journal.all())
	told := map[string]int{<-outcomes: 1}
	told[<-outcomes]++
	if told["answered"] != 1 || told[holder.CodeWithdrawn] != 1 {
		t.Errorf("%v", told)
	}
	for _, f := range journal.all()[before:] {
		if f.agreement != nil {
			t.Errorf("%s was receipted under an agreement after Revoke had returned", f.outcome)
		}
	}
	if used := c.holder.Used(accept); used != 1 {
		t.Errorf("%d charged for one answer", used)
	}
}

// outcome is "answered" or the code of a refusal.
func outcome(data []byte, err error) (string, error) {
	if err != nil {
		return "", err
	}
	reply, err := bundle.DecodeReply(data)
	if err != nil || reply.Answer != nil {
		return "answered", err
	}
	var no bundle.Refusal
	err = reply.Refusal.Refusal.Peek(&no)
	return no.Code, err
}
