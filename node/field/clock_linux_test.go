package field

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/config"
	"github.com/grille-gateway/grille/node/gateway"
)

// shiftVariable makes this test's own program a gateway whose clock is that much ahead.
const shiftVariable = "GRILLE_FIELD_SHIFT"

// serveShifted is `grille serve` with another clock, which the gateway itself has no setting for.
func serveShifted(shift, dir string) int {
	err := func() error {
		by, err := time.ParseDuration(shift)
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		return gateway.Serve(ctx, gateway.Options{Folder: config.Folder(dir), Version: "shifted",
			Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), Now: func() time.Time { return time.Now().Add(by) }})
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestClockADayAhead sets one of four members' clock a day ahead. Its cosignatures stand under no head and it and the others say
// why, they go on, and with the right clock it is a mirror again.
func TestClockADayAhead(t *testing.T) {
	if !wanted(t) {
		return
	}
	s := newSite(t, plan{members: 4})
	const wrong = 3
	s.mustDeclare(0, "before")
	s.agree()
	if err := s.Nodes[wrong].Kill(); err != nil {
		t.Fatal(err)
	}
	right := s.Nodes[wrong].Place.Command
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.Nodes[wrong].Place.Command = append(slices.Clone(right), "env", shiftVariable+"=24h", self)
	if err := s.StartNode(s.Nodes[wrong]); err != nil {
		t.Fatal(err)
	}
	s.eventually("the member with the wrong clock runs", func() error { _, err := s.heads(wrong); return err })
	for k := range 12 {
		s.mustDeclare(k%wrong, fmt.Sprintf("ahead-%d", k))
		time.Sleep(250 * time.Millisecond)
	}
	name := s.Nodes[wrong].Name
	member, _ := s.Config.Member(name)
	for i := range wrong {
		for owner, h := range s.mustHeads(i) {
			if owner != name && strings.Contains(h.Checkpoint, "— "+member.MirrorName()+" ") {
				t.Errorf("%s shows a head of %s that %s cosigned:\n%s", s.Nodes[i].Name, owner, name, h.Checkpoint)
			}
		}
		if log := s.log(i); !strings.Contains(log, "median is -24h") || !strings.Contains(log, "member="+name) {
			t.Errorf("%s does not say that the clock of %s is wrong", s.Nodes[i].Name, name)
		}
		if st := s.status(i); st.ClockSkewed || !st.Ready {
			t.Errorf("%s is not ready: %v", s.Nodes[i].Name, st.NotReady)
		}
	}
	if st := s.status(wrong); !st.ClockSkewed || st.Ready || math.Abs(st.ClockOffset+24*3600) > 60 {
		t.Errorf("%s does not know that its own clock is wrong: %+v", name, st)
	}
	if err := s.Nodes[wrong].Kill(); err != nil {
		t.Fatal(err)
	}
	s.Nodes[wrong].Place.Command = right
	s.restart(wrong)
	for i := range s.Nodes {
		s.mustDeclare(i, fmt.Sprintf("after-%d", i))
	}
	s.agree()
	s.eventually("the member with its clock set right cosigns", func() error {
		for owner, h := range s.mustHeads(0) {
			if owner != name && strings.Contains(h.Checkpoint, "— "+member.MirrorName()+" ") {
				return nil
			}
		}
		return errors.New("not yet")
	})
}

// status is what a member says of itself.
func (s *site) status(i int) (st api.Status) {
	s.t.Helper()
	if err := s.clients[i].Get(s.t.Context(), "/v1/status", &st); err != nil {
		s.t.Fatal(err)
	}
	return st
}

// log is all that a member's gateway has logged.
func (s *site) log(i int) string {
	s.t.Helper()
	data, err := os.ReadFile(s.Nodes[i].LogFile())
	if err != nil {
		s.t.Fatal(err)
	}
	return string(data)
}
