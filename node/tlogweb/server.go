package tlogweb

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"github.com/grille-gateway/grille/node/logkey"
)

const (
	maxConnections = 1024
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
	listener = netutil.LimitListener(listener, maxConnections)
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

// Close ends a server, also one that Serve was never called for.
func (s *Server) Close() error {
	if err := s.net.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
