package field

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

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

// TestClockADayAhead sets one of four members' clock a day ahead. Its cosignatures stand under no head and the others say why; they
// go on.
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
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.Nodes[wrong].Place.Command = append(slices.Clone(s.Nodes[wrong].Place.Command), "env", shiftVariable+"=24h", self)
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
		if log := s.log(i); !strings.Contains(log, "in the future") || !strings.Contains(log, "member="+name) {
			t.Errorf("%s does not say that the clock of %s is wrong", s.Nodes[i].Name, name)
		}
	}
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
