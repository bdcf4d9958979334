package peer

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// raw dials a node as the member self with bare quic-go.
func raw(t *testing.T, n *Node, self, alpn string) (*quic.Conn, error) {
	t.Helper()
	cert, err := certificate(testKey(self))
	if err != nil {
		t.Fatal(err)
	}
	conf := tlsConfig(cert, func(ed25519.PublicKey) error { return nil })
	conf.NextProtos = []string{alpn}
	if alpn != ALPN {
		conf.VerifyConnection = nil
	}
	conn, err := quic.DialAddr(t.Context(), n.Addr().String(), conf, quicConfig())
	if err == nil {
		t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	}
	return conn, err
}

func TestWrongALPN(t *testing.T) {
	net := testNetwork(t, "a", "b")
	a := startNode(t, net, "a", nil)
	if _, err := raw(t, a, "b", "h3"); err == nil {
		t.Error("handshake with another protocol succeeded")
	}
}

// Without a client certificate there is no connection: the refusal may come after Dial returned.
func TestNoClientCertificate(t *testing.T) {
	net := testNetwork(t, "a", "b")
	a := startNode(t, net, "a", nil)
	conn, err := quic.DialAddr(t.Context(), a.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ALPN}}, quicConfig())
	if err == nil {
		select {
		case <-conn.Context().Done():
		case <-time.After(5 * time.Second):
			t.Error("connection stands without a certificate")
		}
		_ = conn.CloseWithError(0, "")
	}
}

func say(t *testing.T, conn *quic.Conn, h hello) error {
	t.Helper()
	body := fmt.Appendf(nil, `{"instance":%q,"configuration":%q,"member":%q,"incarnation":%q}`, h.Instance, h.Configuration, h.Member, h.Incarnation)
	_, err := exchange(t.Context(), conn, kindHello, body, DefaultBounds()[kindHello])
	return err
}

// The name in the hello must be the key's, and a request before the hello is not served.
func TestHelloMustMatchKey(t *testing.T) {
	net := testNetwork(t, "a", "b", "c")
	a := startNode(t, net, "a", nil)
	conn, err := raw(t, a, "b", ALPN)
	if err != nil {
		t.Fatal(err)
	}
	err = say(t, conn, hello{"test", "d1", "c", "00"})
	var refusal *RemoteError
	if !errors.As(err, &refusal) || refusal.Code != CodeWrongMember {
		t.Errorf("b called itself c: %v", err)
	}
	conn, err = raw(t, a, "b", ALPN)
	if err != nil {
		t.Fatal(err)
	}
	_, err = exchange(t.Context(), conn, KindQuery, nil, DefaultBounds()[KindQuery])
	if !errors.As(err, &refusal) || refusal.Code != CodeUnknownKind {
		t.Errorf("query before hello: %v", err)
	}
}

// One key holds few of the places for connections that have not said hello: others get in beside it.
func TestSilentConnectionsOfOneKeyLeaveRoom(t *testing.T) {
	net := testNetwork(t, "a", "b", "c")
	a := startNode(t, net, "a", nil)
	refused := 0
	for range 2 * pendingHellosOfKey {
		conn, err := raw(t, a, "b", ALPN)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-conn.Context().Done():
			refused++
		case <-time.After(200 * time.Millisecond):
		}
	}
	if refused != pendingHellosOfKey {
		t.Errorf("%d of %d silent connections were refused", refused, 2*pendingHellosOfKey)
	}
	greeted(t, a, "c")
}

func TestSlots(t *testing.T) {
	s := newSlots(3, 2)
	for i, tc := range []struct {
		key  string
		want bool
	}{{"a", true}, {"a", true}, {"a", false}, {"b", true}, {"c", false}} {
		if got := s.take(tc.key); got != tc.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
	s.give("a")
	if !s.take("c") || s.take("a") {
		t.Error("a place that was given back is not free, or is free twice")
	}
	for _, key := range []string{"a", "b", "c"} {
		s.give(key)
	}
	if s.total != 0 || len(s.taken) != 0 {
		t.Errorf("%d places, %d keys are left", s.total, len(s.taken))
	}
}

func greeted(t *testing.T, n *Node, self string) *quic.Conn {
	t.Helper()
	conn, err := raw(t, n, self, ALPN)
	if err != nil {
		t.Fatal(err)
	}
	if err := say(t, conn, hello{"test", "d1", self, "00"}); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestOversizedRequestIsRefusedBeforeItIsRead(t *testing.T) {
	net := testNetwork(t, "a", "b")
	a := startNode(t, net, "a", func(o *Options) {
		o.Handler = func(context.Context, string, Kind, []byte) ([]byte, error) {
			t.Error("handler was called")
			return nil, nil
		}
	})
	stream, err := greeted(t, a, "b").OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Write([]byte{byte(KindQuery), 0xff, 0xff, 0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	_ = stream.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err = readReply(stream, 1024)
	var refusal *RemoteError
	if !errors.As(err, &refusal) || refusal.Code != CodeTooLarge {
		t.Errorf("4 GB request: %v", err)
	}
}

func TestUnknownKindAndTrailingData(t *testing.T) {
	net := testNetwork(t, "a", "b")
	a := startNode(t, net, "a", nil)
	conn := greeted(t, a, "b")
	for _, c := range []struct {
		name, code string
		frame      []byte
	}{
		{"unknown kind", CodeUnknownKind, []byte{200, 0, 0, 0, 0}},
		{"second hello", CodeUnknownKind, []byte{byte(kindHello), 0, 0, 0, 0}},
		{"trailing data", CodeProtocol, []byte{byte(KindQuery), 0, 0, 0, 1, 'x', 'y'}},
		{"short body", CodeProtocol, []byte{byte(KindQuery), 0, 0, 0, 3, 'x'}},
		{"short head", CodeProtocol, []byte{byte(KindQuery), 0}},
	} {
		stream, err := conn.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Write(c.frame); err != nil {
			t.Fatal(err)
		}
		_ = stream.Close()
		_ = stream.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err = readReply(stream, 1024)
		var refusal *RemoteError
		if !errors.As(err, &refusal) || refusal.Code != c.code {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
