package field

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// init keeps the process's first thread for the main goroutine: if a goroutine that enters a namespace got it, the whole process would
// count as being there.
func init() { runtime.LockOSThread() }

const (
	maxMembers = 16 // of a ground
	bridges    = 4  // groups into which it can fall apart
)

// A ground is a set of network namespaces: one with bridges, and one for each member, whose only way out is a pair of virtual
// interfaces to the first bridge. Nothing of it is in the machine's own network, and no address of it can be reached from there.
type ground struct {
	t       *testing.T
	hub     string
	members []string // namespaces
}

// wanted tells whether namespaces may be made on this machine. A test that gets false has nothing to do.
func wanted(t *testing.T) bool {
	t.Helper()
	if os.Getenv("NETNS") == "0" {
		t.Log("NOT RUN: NETNS=0; members in network namespaces of their own were not tested")
		return false
	}
	return true
}

// newGround makes namespaces for n members. They and every process in them are gone when the test ends, and also when the whole process
// ends without a word: whoever removes them is a process of its own that waits for a pipe to close.
func newGround(t *testing.T, n int) *ground {
	t.Helper()
	if n < 1 || n > maxMembers {
		t.Fatalf("a ground for %d members; the limit is %d", n, maxMembers)
	}
	var raw [4]byte
	rand.Read(raw[:])
	prefix := "grille-" + hex.EncodeToString(raw[:]) + "-"
	g := &ground{t: t, hub: prefix + "hub"}
	for i := range n {
		g.members = append(g.members, fmt.Sprintf("%s%d", prefix, i))
	}
	g.reapAtEnd()
	g.ip("netns", "add", g.hub)
	for b := range bridges {
		g.ip("-n", g.hub, "link", "add", bridge(b), "type", "bridge")
		g.ip("-n", g.hub, "link", "set", bridge(b), "up")
	}
	g.ip("-n", g.hub, "addr", "add", hubAddress.String()+"/24", "dev", bridge(0))
	for i, name := range g.members {
		g.ip("netns", "add", name)
		g.ip("-n", name, "link", "set", "lo", "up")
		g.ip("-n", g.hub, "link", "add", port(i), "type", "veth", "peer", "name", "eth0", "netns", name)
		g.ip("-n", g.hub, "link", "set", port(i), "master", bridge(0), "up")
		g.ip("-n", name, "addr", "add", address(i).String()+"/24", "dev", "eth0")
		g.ip("-n", name, "link", "set", "eth0", "up")
	}
	return g
}

// hubAddress is the hub's address on the first bridge; the relay listens there.
var hubAddress = netip.AddrFrom4([4]byte{10, 99, 99, 254})

// address is the i-th member's address on whichever bridge it is.
func address(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 99, 99, byte(1 + i)}) }

func bridge(i int) string { return fmt.Sprintf("br%d", i) }
func port(i int) string   { return fmt.Sprintf("port%d", i) }

// reap removes namespaces, and what runs in them, when its standard input ends.
const reap = `cat >/dev/null
for n in "$@"; do ip netns pids "$n" 2>/dev/null | xargs -r kill -9 2>/dev/null; done
for n in "$@"; do ip netns del "$n" 2>/dev/null; done
exit 0`

func (g *ground) reapAtEnd() {
	cmd := exec.Command("sh", append([]string{"-c", reap, "reap", g.hub}, g.members...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // not ended by a terminal's Ctrl-C, which ends the test
	pipe, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		g.t.Fatalf("starting what removes the namespaces at the end: %v", err)
	}
	g.t.Cleanup(func() {
		_ = pipe.Close()
		if err := cmd.Wait(); err != nil {
			g.t.Errorf("removing namespaces: %v", err)
		}
		for _, name := range append([]string{g.hub}, g.members...) {
			if _, err := os.Stat("/run/netns/" + name); err == nil {
				g.t.Errorf("namespace %s is still there", name)
			}
		}
	})
}

// ip runs ip(8).
func (g *ground) ip(args ...string) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput()
	if err != nil {
		g.t.Fatalf("ip %s: %v: %s\nThese tests need Linux, iproute2 and root; NETNS=0 leaves them out.",
			strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
}

// cut takes the member's cable out, or puts it back.
func (g *ground) cut(member int, out bool) {
	g.t.Helper()
	state := "up"
	if out {
		state = "down"
	}
	g.ip("-n", g.hub, "link", "set", port(member), state)
}

// split puts members on bridges of their own, a bridge for each group. Members that are in no group stay where they are.
func (g *ground) split(groups ...[]int) {
	g.t.Helper()
	if len(groups) > bridges {
		g.t.Fatalf("%d groups; there are %d bridges", len(groups), bridges)
	}
	for b, group := range groups {
		for _, m := range group {
			g.ip("-n", g.hub, "link", "set", port(m), "master", bridge(b))
		}
	}
}

// inside runs f in a namespace. Sockets that f opens stay there.
func inside(namespace string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, so that no other finds itself in there
		file, err := os.Open("/run/netns/" + namespace)
		if err == nil {
			defer file.Close()
			err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
		}
		if err != nil {
			done <- fmt.Errorf("entering namespace %s: %w", namespace, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// dialler reaches addresses of a namespace, its loopback too.
func dialler(namespace string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = inside(namespace, func() error {
			conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
}

// listener opens UDP sockets in a namespace.
func listener(namespace string) func(netip.AddrPort) (*net.UDPConn, error) {
	return func(at netip.AddrPort) (socket *net.UDPConn, err error) {
		err = inside(namespace, func() error {
			socket, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
			return err
		})
		return socket, err
	}
}

// own stands for this machine's network where a member is meant.
const own = -1

func (g *ground) open(of, port int) *net.UDPConn {
	g.t.Helper()
	var socket *net.UDPConn
	var err error
	if of == own {
		socket, err = net.ListenUDP("udp4", nil)
	} else {
		socket, err = listener(g.members[of])(netip.AddrPortFrom(address(of), uint16(port)))
	}
	if err != nil {
		g.t.Fatal(err)
	}
	return socket
}

func (g *ground) reaches(from, to int) bool {
	g.t.Helper()
	in, out := g.open(from, 0), g.open(to, 7000)
	defer in.Close()
	defer out.Close()
	for range 20 {
		_, _ = in.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(address(to), 7000)) // a cut may be an error or a loss
		_ = out.SetReadDeadline(time.Now().Add(25 * time.Millisecond))
		if _, _, err := out.ReadFromUDPAddrPort(make([]byte, 1)); err == nil {
			return true
		}
	}
	return false
}

// TestGround checks the ground itself: members reach one another, not the machine, and not across a cut or another bridge.
func TestGround(t *testing.T) {
	if !wanted(t) {
		return
	}
	g := newGround(t, 3)
	want := func(state string, from, to int, yes bool) {
		t.Helper()
		if g.reaches(from, to) != yes {
			t.Errorf("%s: %d reaches %d: %v", state, from, to, !yes)
		}
	}
	want("whole", 0, 1, true)
	want("whole", 1, 2, true)
	g.cut(1, true)
	want("1 is cut off", 0, 1, false)
	want("1 is cut off", 1, 2, false)
	want("1 is cut off", 2, 0, true)
	g.cut(1, false)
	want("healed", 0, 1, true)
	g.split([]int{0, 1}, []int{2})
	want("split", 0, 1, true)
	want("split", 2, 0, false)
	g.split([]int{0, 1, 2})
	want("joined", 2, 0, true)
	want("from this machine's own network", own, 0, false)
}

// TestGroundIsRemovedAfterAPanic ends a process that has a ground as a panic does, and wants nothing left.
func TestGroundIsRemovedAfterAPanic(t *testing.T) {
	if !wanted(t) {
		return
	}
	if os.Getenv(panicVariable) != "" {
		g := newGround(t, 1)
		sleeper := exec.Command("ip", "netns", "exec", g.members[0], "sleep", "300")
		if err := sleeper.Start(); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("ground %s %s %d\n", g.hub, g.members[0], sleeper.Process.Pid)
		go panic("as if a test had a bug")
		select {}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestGroundIsRemovedAfterAPanic$")
	cmd.Env = append(os.Environ(), panicVariable+"=1")
	cmd.Stderr = io.Discard
	out, err := cmd.Output()
	if err == nil {
		t.Fatal("the process did not panic")
	}
	var hub, member string
	var pid int
	if _, err := fmt.Sscanf(string(out), "ground %s %s %d", &hub, &member, &pid); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	gone := func() bool {
		_, hubErr := os.Stat("/run/netns/" + hub)
		_, memberErr := os.Stat("/run/netns/" + member)
		return os.IsNotExist(hubErr) && os.IsNotExist(memberErr) && syscall.Kill(pid, 0) != nil
	}
	for end := time.Now().Add(10 * time.Second); !gone(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("namespaces %s and %s or process %d are still there", hub, member, pid)
		}
	}
}

const panicVariable = "GRILLE_FIELD_PANIC"
