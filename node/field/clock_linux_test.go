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
	right := s.Nodes[wrong].Place.Command
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.again(wrong, append(slices.Clone(right), "env", shiftVariable+"=24h", self))
	s.eventually("the member with the wrong clock runs", func() error { _, err := s.heads(wrong); return err })
	for k := range 12 {
		s.mustDeclare(k%wrong, fmt.Sprintf("ahead-%d", k))
		time.Sleep(250 * time.Millisecond)
	}
	s.outOfTime(wrong)

	s.again(wrong, right)
	for i := range s.Nodes {
		s.eventually("all are ready", func() error { _, err := s.declare(t.Context(), i, "after", "Made by a test"); return err })
	}
	s.agree()
	s.eventually("the member with its clock set right cosigns", func() error {
		if !s.cosigned(0, wrong) {
			return errors.New("not yet")
		}
		return nil
	})
}

// again kills a member and starts it by another command.
func (s *site) again(i int, command []string) {
	s.t.Helper()
	if err := s.Nodes[i].Kill(); err != nil {
		s.t.Fatal(err)
	}
	s.Nodes[i].Place.Command = command
	if err := s.StartNode(s.Nodes[i]); err != nil {
		s.t.Fatal(err)
	}
}

// cosigned tells whether the i-th member shows a head of another member's log that the mirror cosigned.
func (s *site) cosigned(i, mirror int) bool {
	s.t.Helper()
	member, _ := s.Config.Member(s.Nodes[mirror].Name)
	for owner, h := range s.mustHeads(i) {
		if owner != member.Name && strings.Contains(h.Checkpoint, "— "+member.MirrorName()+" ") {
			return true
		}
	}
	return false
}

// outOfTime wants that a member's wrong clock has no effect on the others, and that it and they say so.
func (s *site) outOfTime(wrong int) {
	s.t.Helper()
	name := s.Nodes[wrong].Name
	for i := range s.Nodes {
		if i == wrong {
			continue
		}
		if s.cosigned(i, wrong) {
			s.t.Errorf("%s shows a head that %s cosigned", s.Nodes[i].Name, name)
		}
		if log := s.log(i); !strings.Contains(log, "median is -24h") || !strings.Contains(log, "member="+name) {
			s.t.Errorf("%s does not say that the clock of %s is wrong", s.Nodes[i].Name, name)
		}
		if st := s.status(i); st.ClockSkewed || !st.Ready {
			s.t.Errorf("%s is not ready: %v", s.Nodes[i].Name, st.NotReady)
		}
	}
	if st := s.status(wrong); !st.ClockSkewed || st.Ready || math.Abs(st.ClockOffset+24*3600) > 60 {
		s.t.Errorf("%s does not know that its own clock is wrong: %+v", name, st)
	}
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
