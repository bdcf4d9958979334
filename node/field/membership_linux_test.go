package field

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/demo"
)

// TestMembersChange changes a running network with the commands that operators use: a member joins, becomes a mirror, others take new
// keys, one leaves. Whatever was final stays, everybody changes by itself, and who has left is let in no more.
func TestMembersChange(t *testing.T) {
	if !wanted(t) {
		return
	}
	// A beat of an hour: logs stand still while a fence is decided, but for what the test writes.
	s := newSite(t, plan{members: 4, spare: 1, beat: 3600})
	c := &changes{site: s, dir: t.TempDir(), version: 1, votes: []int{0, 1, 2, 3}, seen: map[place]string{}}
	c.proposer = s.member(s.Config.Proposer)
	for i := range 4 {
		c.remember(i, "one")
	}
	c.join(demo.Department{Name: "GOV/shelter", Title: "Shelter"})

	c.must(1, "keys", "rotate", string(s.Nodes[1].Folder), "--role", "transport", "--role", "query")
	c.change("--replace", s.Nodes[1].Folder.Card())
	c.remember(1, "four")
	c.must(2, "keys", "rotate", string(s.Nodes[2].Folder), "--role", "log", "--role", "mirror")
	c.change("--replace", s.Nodes[2].Folder.Card(), "--fence", c.fence(2))
	c.remember(2, "five")
	if origin := s.mustHeads(2)[s.Nodes[2].Name].Origin; !strings.HasSuffix(origin, "/log/2") {
		t.Errorf("the new log of %s is %s", s.Nodes[2].Name, origin)
	}

	left := s.member("GOV/tax")
	if left == c.proposer {
		t.Fatal("the proposer would leave")
	}
	c.remove(left)
	c.startedAgain(left)
	c.remember(0, "six")
	s.agree(c.votes...)
	c.recall(c.votes...)
	s.audit([]byte(c.must(0, "network", "chain")))
}

// changes takes a site from one version of its configuration to the next.
type changes struct {
	*site
	dir         string
	version     int
	fingerprint string // of the newest
	proposer    int
	votes       []int // members who vote
	seen        map[place]string
}

// remember puts an entry on a member's log and keeps its hash once it is final.
func (c *changes) remember(i int, name string) {
	c.t.Helper()
	at := place{index: c.mustDeclare(i, name)}
	at.origin = c.mustHeads(i)[c.Nodes[i].Name].Origin
	hash, err := c.hash(c.t.Context(), i, at)
	if err != nil {
		c.t.Fatal(err)
	}
	c.seen[at] = hash
}

// recall wants all that was remembered at some members.
func (c *changes) recall(members ...int) {
	c.t.Helper()
	for at, hash := range c.seen {
		for _, i := range members {
			if got, err := c.hash(c.t.Context(), i, at); err != nil || got != hash {
				c.t.Errorf("%s shows %s at %d of %s, want %s: %v", c.Nodes[i].Name, got, at.index, at.origin, hash, err)
			}
		}
	}
}

// join adds a member, which copies all logs, and then makes it a mirror.
func (c *changes) join(d demo.Department) {
	c.t.Helper()
	node, err := c.Prepare(d)
	if err != nil {
		c.t.Fatal(err)
	}
	i := len(c.Nodes) - 1
	c.change("--add", node.Folder.Card())
	c.must(i, "network", "adopt", string(node.Folder), c.chain(), "--fingerprint", c.fingerprint)
	c.restart(i)
	c.clients = append(c.clients, node.Client())
	c.agree()
	c.remember(i, "two")
	c.change("--mirror", node.Name+"=true")
	c.votes = append(c.votes, i)
	c.ground.cut(0, true) // four of five mirrors are left, which is the quorum only with the new one
	c.remember(1, "three")
	c.ground.cut(0, false)
	c.agree()
}

func (s *site) member(name string) int {
	s.t.Helper()
	for i, n := range s.Nodes {
		if n.Name == name {
			return i
		}
	}
	s.t.Fatalf("no member %s", name)
	return -1
}

// must runs a command for the i-th member's gateway.
func (c *changes) must(i int, args ...string) string {
	c.t.Helper()
	out, err := c.grille(i, append(args, "--dir", string(c.Nodes[i].Folder))...)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(out)
}

// change makes, proposes and votes for the next version, and waits until it is in force at every member of it that runs.
func (c *changes) change(args ...string) {
	c.t.Helper()
	started := time.Now()
	c.decide(args...)
	for _, i := range c.votes {
		c.inForce(i)
	}
	c.t.Logf("version %d (%s): in force and ready at all after %.1f s", c.version, args[0], time.Since(started).Seconds())
}

func (c *changes) inForce(i int) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("version %d at %s", c.version, c.Nodes[i].Name), func() error {
		var n api.Network
		if err := c.clients[i].Get(c.t.Context(), "/v1/network", &n); err != nil {
			return err
		}
		if n.Version != c.version {
			return fmt.Errorf("version %d is in force", n.Version)
		}
		if st := c.status(i); !st.Ready {
			return fmt.Errorf("not ready: %v", st.NotReady)
		}
		return nil
	})
}

func (c *changes) decide(args ...string) {
	c.t.Helper()
	c.version++
	document := filepath.Join(c.dir, fmt.Sprintf("%d.json", c.version))
	out := c.must(c.proposer, append([]string{"network", "change", "-f", document, "-o", "json"}, args...)...)
	var made struct {
		To struct {
			Version     int    `json:"version"`
			Fingerprint string `json:"fingerprint"`
		} `json:"to"`
	}
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.To.Version != c.version {
		c.t.Fatalf("making version %d: %v\n%s", c.version, err, out)
	}
	c.fingerprint = made.To.Fingerprint
	c.must(c.proposer, "network", "propose", document)
	for _, i := range c.votes {
		c.eventually(fmt.Sprintf("the vote of %s for version %d", c.Nodes[i].Name, c.version), func() error {
			out, err := c.grille(i, "network", "vote", "--fingerprint", c.fingerprint, "--dir", string(c.Nodes[i].Folder))
			if err != nil && c.beyond(i) {
				return nil // decided without this vote
			}
			if err != nil {
				return fmt.Errorf("%w %s", err, out)
			}
			return nil
		})
	}
}

// beyond tells whether a member is at the version that is being decided already.
func (c *changes) beyond(i int) bool {
	var n api.Network
	return c.clients[i].Get(c.t.Context(), "/v1/network", &n) == nil && n.Version == c.version
}

// fence is the present end of a member's log, once all members agree on it.
func (c *changes) fence(i int) string {
	c.t.Helper()
	h := c.agree()[c.Nodes[i].Name]
	return fmt.Sprintf("%s:%d:%s", h.Origin, h.Size, h.Root)
}

// chain is a file with all versions so far.
func (c *changes) chain() string {
	c.t.Helper()
	path := filepath.Join(c.dir, fmt.Sprintf("chain-%d.json", c.version))
	c.must(c.proposer, "network", "chain", "-f", path)
	return path
}

// remove has a member leave while it runs: its process ends when it hears so, and whether it hears so or not, nobody is connected to it
// any more.
func (c *changes) remove(left int) {
	c.t.Helper()
	node := c.Nodes[left]
	fence := c.fence(left)
	c.votes = slices.DeleteFunc(c.votes, func(i int) bool { return i == left })
	c.change("--remove", node.Name, "--fence", fence)
	select {
	case <-node.Exited():
		if log := node.LogEnd(); !strings.Contains(log, "does not name this member") {
			c.t.Errorf("%s does not say why its gateway ended:\n%s", node.Name, log)
		}
	case <-time.After(5 * time.Second): // the others changed before one of them had told it
		if st := c.status(left); st.PeersUp > 0 {
			c.t.Errorf("%s, which has left, is connected to %d", node.Name, st.PeersUp)
		}
		if err := node.Kill(); err != nil {
			c.t.Fatal(err)
		}
	}
	c.shutOut(left)
}

// startedAgain starts the gateway of a member that has left and does not know so: nobody answers it any more.
func (c *changes) startedAgain(left int) {
	c.t.Helper()
	node := c.Nodes[left]
	link := filepath.Join(node.Folder.Ledger(), "chain", fmt.Sprintf("%d.json", c.version))
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		c.t.Fatal(err)
	}
	if err := c.StartNode(node); err != nil {
		c.t.Fatal(err)
	}
	c.eventually("the gateway that has left runs by an old configuration", func() error { _, err := c.heads(left); return err })
	time.Sleep(3 * time.Second)
	c.shutOut(left)
	if st := c.status(left); st.Ready || st.PeersUp > 0 {
		c.t.Errorf("%s, which has left, is connected to %d and ready: %v", node.Name, st.PeersUp, st.Ready)
	}
	if err := node.Kill(); err != nil {
		c.t.Fatal(err)
	}
}

// shutOut wants that no member knows another who has left.
func (c *changes) shutOut(left int) {
	c.t.Helper()
	for _, i := range c.votes {
		var n api.Network
		if err := c.clients[i].Get(c.t.Context(), "/v1/network", &n); err != nil {
			c.t.Fatal(err)
		}
		for _, m := range n.Members {
			if m.Name == c.Nodes[left].Name {
				c.t.Errorf("%s still lists %s: %+v", c.Nodes[i].Name, m.Name, m)
			}
		}
		log := c.log(i)
		up, down := strings.LastIndex(log, `msg="neighbour up" member=`+c.Nodes[left].Name), strings.LastIndex(log, `msg="neighbour down" member=`+c.Nodes[left].Name)
		if up > down {
			c.t.Errorf("%s is connected to %s, which has left", c.Nodes[i].Name, c.Nodes[left].Name)
		}
	}
}
