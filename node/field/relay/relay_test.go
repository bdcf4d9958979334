package relay

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var bad = Weather{Delay: 30 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 0.1, Duplicate: 0.05, Reorder: 0.2, HoldBack: time.Second}

func fates(w Weather, seed uint64, from, to string, n int) []Fate {
	all := make([]Fate, n)
	for i := range all {
		all[i] = w.Fate(seed, from, to, uint64(i))
	}
	return all
}

func TestSameSeedSameFates(t *testing.T) {
	a := fates(bad, 7, "GOV/a", "GOV/b", 1000)
	if got := fates(bad, 7, "GOV/a", "GOV/b", 1000); fmt.Sprint(got) != fmt.Sprint(a) {
		t.Error("two runs differ")
	}
	for name, other := range map[string][]Fate{
		"seed":            fates(bad, 8, "GOV/a", "GOV/b", 1000),
		"other direction": fates(bad, 7, "GOV/b", "GOV/a", 1000),
		"other link":      fates(bad, 7, "GOV/a", "GOV/c", 1000),
	} {
		if fmt.Sprint(other) == fmt.Sprint(a) {
			t.Errorf("%s: the same fates", name)
		}
	}
}

// The fates of the first datagrams of one direction, so that a change of the algorithm, which makes old seeds worthless, shows.
func TestFatesStayWhatTheyAre(t *testing.T) {
	var lost, twice, held []int
	for i, f := range fates(bad, 1, "GOV/a", "GOV/b", 60) {
		if f.Lost {
			lost = append(lost, i)
		}
		if f.Copies == 2 {
			twice = append(twice, i)
		}
		if f.Held {
			held = append(held, i)
		}
	}
	if got := fmt.Sprint(lost, twice, held); got != goldenFates {
		t.Errorf("lost, twice, held: %s", got)
	}
}

const goldenFates = "[1 4 10 25 43 46] [3 55] [0 5 12 13 21 22 27 28 29 31 32 37 57]"

func TestSharesAndDelays(t *testing.T) {
	const n = 50_000
	var lost, twice, held int
	var sum time.Duration
	for _, f := range fates(bad, 3, "x", "y", n) {
		if f.Lost {
			lost++
			if f.Copies != 0 {
				t.Fatal("lost with a copy")
			}
			continue
		}
		if f.Copies == 2 {
			twice++
		}
		if f.Held {
			held++
			f.Delay -= bad.HoldBack
		}
		if f.Delay < 20*time.Millisecond || f.Delay > 40*time.Millisecond {
			t.Fatalf("delay %s", f.Delay)
		}
		sum += f.Delay
	}
	kept := float64(n - lost)
	for name, c := range map[string]struct{ got, want float64 }{
		"loss": {float64(lost) / n, 0.1}, "twice": {float64(twice) / kept, 0.05}, "held": {float64(held) / kept, 0.2},
		"mean delay in ms": {float64(sum.Milliseconds()) / kept / 100, 0.3},
	} {
		if math.Abs(c.got-c.want) > 0.01 {
			t.Errorf("%s: %.3f, want %.3f", name, c.got, c.want)
		}
	}
}

// Changing one share leaves the decisions about the others alone.
func TestSharesAreIndependent(t *testing.T) {
	noLoss := bad
	noLoss.Loss = 0
	for i, f := range fates(bad, 5, "a", "b", 1000) {
		if g := noLoss.Fate(5, "a", "b", uint64(i)); !f.Lost && f != g {
			t.Fatalf("datagram %d: %+v and %+v", i, f, g)
		}
	}
}

func TestNoSuchWeather(t *testing.T) {
	for _, w := range []Weather{{Loss: 1.1}, {Loss: -0.1}, {Duplicate: math.NaN()}, {Reorder: 2}, {Delay: -1}, {Jitter: 1}, {HoldBack: -1}} {
		if _, err := New(Options{Weather: w}); !errors.Is(err, ErrWeather) {
			t.Errorf("%+v: %v", w, err)
		}
	}
}

func listen(at netip.AddrPort) (*net.UDPConn, error) {
	return net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
}

// pair is a client A and a server B with a relay between them. B's name for the client is its address, as any on loopback.
func pair(t *testing.T, w Weather) (r *Relay, a *net.UDPConn, public netip.AddrPort, b *net.UDPConn) {
	t.Helper()
	home := netip.MustParseAddrPort("127.0.0.1:0")
	open := func() *net.UDPConn {
		s, err := listen(home)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	a, b = open(), open()
	free := open()
	public = free.LocalAddr().(*net.UDPAddr).AddrPort()
	_ = free.Close()
	r, err := New(Options{Seed: 1, Weather: w, Listen: listen, Name: func(netip.Addr) (string, bool) { return "a", true }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := r.Carry("b", public, b.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
		t.Fatal(err)
	}
	return r, a, public, b
}

func receive(t *testing.T, s *net.UDPConn) ([]byte, netip.AddrPort) {
	t.Helper()
	_ = s.SetReadDeadline(time.Now().Add(10 * time.Second))
	buffer := make([]byte, maxDatagram)
	n, from, err := s.ReadFromUDPAddrPort(buffer)
	if err != nil {
		t.Fatal(err)
	}
	return buffer[:n], from
}

func TestCarriesBothWays(t *testing.T) {
	r, a, public, b := pair(t, Weather{Delay: time.Millisecond})
	for i := range 20 {
		question := fmt.Appendf(nil, "question %d", i)
		if _, err := a.WriteToUDPAddrPort(question, public); err != nil {
			t.Fatal(err)
		}
		got, from := receive(t, b)
		if !bytes.Equal(got, question) {
			t.Fatalf("got %q", got)
		}
		if _, err := b.WriteToUDPAddrPort(append([]byte("re: "), got...), from); err != nil {
			t.Fatal(err)
		}
		if got, from := receive(t, a); string(got) != "re: "+string(question) || from != public {
			t.Fatalf("got %q from %s", got, from)
		}
	}
	for _, d := range []Direction{{"a", "b"}, {"b", "a"}} {
		if c := r.Counts()[d]; c != (Count{Carried: 20}) {
			t.Errorf("%v: %+v", d, c)
		}
	}
}

// What arrives is what the fates say, in an order that only those held back break.
func TestArrivesAsDecided(t *testing.T) {
	w := Weather{Delay: 5 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.2, Duplicate: 0.2, Reorder: 0.1, HoldBack: 300 * time.Millisecond}
	_, a, public, b := pair(t, w)
	var inOrder, late []byte
	const n = 200
	for i := range n {
		f := w.Fate(1, "a", "b", uint64(i))
		for range f.Copies {
			if f.Held {
				late = append(late, byte(i))
			} else {
				inOrder = append(inOrder, byte(i))
			}
		}
		if _, err := a.WriteToUDPAddrPort([]byte{byte(i)}, public); err != nil {
			t.Fatal(err)
		}
	}
	if len(late) < 10 || len(inOrder) < 100 {
		t.Fatalf("%d late, %d in order: the test says nothing", len(late), len(inOrder))
	}
	held := map[byte]bool{}
	for _, i := range late {
		held[i] = true
	}
	var got, gotLate []byte
	for range len(inOrder) + len(late) {
		data, _ := receive(t, b)
		if held[data[0]] {
			gotLate = append(gotLate, data[0])
		} else {
			got = append(got, data[0])
		}
	}
	if !bytes.Equal(got, inOrder) {
		t.Errorf("in order: got %v, want %v", got, inOrder)
	}
	if len(gotLate) != len(late) {
		t.Errorf("held back: got %v, want %v", gotLate, late)
	}
}

func TestCutOneDirection(t *testing.T) {
	r, a, public, b := pair(t, Weather{})
	say := func(text string) {
		if _, err := a.WriteToUDPAddrPort([]byte(text), public); err != nil {
			t.Fatal(err)
		}
	}
	say("one")
	_, from := receive(t, b)
	r.Cut(Direction{"b", "a"}, true)
	if _, err := b.WriteToUDPAddrPort([]byte("lost"), from); err != nil {
		t.Fatal(err)
	}
	say("two") // the other direction works
	receive(t, b)
	for end := time.Now().Add(10 * time.Second); r.Counts()[Direction{"b", "a"}].Lost == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing was lost")
		}
	}
	r.Cut(Direction{"b", "a"}, false)
	if _, err := b.WriteToUDPAddrPort([]byte("heard"), from); err != nil {
		t.Fatal(err)
	}
	if got, _ := receive(t, a); string(got) != "heard" {
		t.Errorf("got %q through a cut", got)
	}
	if err := r.Set(Direction{"a", "b"}, Weather{Loss: 1}); err != nil {
		t.Fatal(err)
	}
	say("three")
	for end := time.Now().Add(10 * time.Second); r.Counts()[Direction{"a", "b"}].Lost == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing was lost")
		}
	}
}

// A queue that is full drops, as a router's does, and the relay goes on.
func TestQueueIsBounded(t *testing.T) {
	r, a, public, b := pair(t, Weather{Delay: 200 * time.Millisecond})
	r.mu.Lock()
	for range maxWaiting {
		r.postLocked(time.Now().Add(100*time.Millisecond), func() {})
	}
	if r.postLocked(time.Now(), func() { t.Error("sent beyond the bound") }) {
		t.Error("posted beyond the bound")
	}
	r.mu.Unlock()
	for r.Counts()[Direction{"a", "b"}].Lost == 0 {
		if _, err := a.WriteToUDPAddrPort([]byte("x"), public); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	for carried := uint64(0); carried == 0; carried = r.Counts()[Direction{"a", "b"}].Carried {
		if _, err := a.WriteToUDPAddrPort([]byte("x"), public); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	receive(t, b)
}
