package tlogweb

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"github.com/grille-gateway/grille/node/logkey"
)

const (
	maxConnections = 1024
	maxOfClient    = 64 // connections
	maxHeader      = 8 << 10
	shutdownTime   = 10 * time.Second // for requests in flight when the gateway ends
)

// A Server serves a Handler over HTTPS.
type Server struct {
	http *http.Server
	log  *slog.Logger
	net  net.Listener
}

// Listen opens the address with a certificate. Nothing is served before Serve.
func Listen(address, certificate, key string, h http.Handler, log *slog.Logger) (*Server, error) {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("opening the public side: %w", err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("opening the public side: %w", err)
	}
	listener = netutil.LimitListener(&fairListener{Listener: listener, open: make(map[netip.Addr]int)}, maxConnections)
	s := &Server{log: log, net: tls.NewListener(listener, &tls.Config{
		Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
	})}
	s.http = &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.net.Addr() }

// Serve serves until ctx ends, then lets requests in flight finish for a while.
func (s *Server) Serve(ctx context.Context) error {
	s.http.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(ctx) }
	ended := make(chan error, 1)
	go func() { ended <- s.http.Serve(s.net) }()
	s.log.Info("public side open", logkey.Address, s.Addr().String())
	select {
	case err := <-ended:
		return fmt.Errorf("serving the public side: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	err := s.http.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("requests of strangers were cut off at shutdown")
		err = s.http.Close()
	}
	<-ended // http.ErrServerClosed
	return err
}

// A fairListener closes connections of a client that has too many already, so that none takes all places.
type fairListener struct {
	net.Listener
	mu   sync.Mutex
	open map[netip.Addr]int
}

// Accept waits for a connection of a client that may have one more.
func (l *fairListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr, ok := addressOf(conn.RemoteAddr().String())
		if ok && l.count(addr, 1) {
			return &countedConn{Conn: conn, done: sync.OnceFunc(func() { l.count(addr, -1) })}, nil
		}
		_ = conn.Close() // nothing was said on it
	}
}

// count changes the number of a client's connections, if it may.
func (l *fairListener) count(addr netip.Addr, by int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.open[addr] + by
	if n > maxOfClient {
		return false
	}
	if l.open[addr] = n; n == 0 {
		delete(l.open, addr)
	}
	return true
}

// A countedConn counts until it is closed.
type countedConn struct {
	net.Conn
	done func()
}

func (c *countedConn) Close() error {
	c.done()
	return c.Conn.Close()
}

// Close ends a server, also one that Serve was never called for.
func (s *Server) Close() error {
	if err := s.net.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
