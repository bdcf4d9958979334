package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/node/auth"
	"github.com/grille-gateway/grille/node/config"
	"github.com/grille-gateway/grille/node/logkey"
)

const (
	maxJSON     = 64 << 10         // bytes of a JSON body: a question with the longest texts has 5 KiB
	maxNetwork  = 2 << 20          // bytes of a network configuration, which network.Parse bounds the same
	maxDocument = 1 << 20          // bytes of a schema or policy document; their parsers have tighter bounds
	maxHeader   = 16 << 10         // bytes of all headers
	bodyTime    = 5 * time.Second  // for a JSON body to arrive
	replyTime   = 30 * time.Second // for a reply to leave once it is there
	publishTime = 60 * time.Second // for an entry to become final
	importTime  = 2 * time.Hour    // for a CSV to arrive, be committed and become final: a million records take minutes
)

// Options are what the interface needs. All but Logger are required.
type Options struct {
	Gateway Gateway
	Guard   *auth.Guard
	Metrics http.Handler // serves /metrics
	Config  config.API
	Limits  config.Limits
	Version string
	Logger  *slog.Logger
}

// Server is the REST interface of one gateway.
type Server struct {
	o     Options
	api   huma.API
	http  *http.Server
	ready chan struct{} // closed when Serve listens
	addr  net.Addr
}

// New registers all operations. Nothing listens before Serve.
func New(o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	s := &Server{o: o, ready: make(chan struct{})}
	s.api = humago.New(mux, humaConfig(o.Version))
	s.registerAnswers()
	s.registerDatasets()
	s.registerPolicies()
	s.registerAgreements()
	s.registerRights()
	s.registerPrograms()
	s.registerScopes()
	s.registerLedger()
	s.registerSuccession()
	s.registerStatus()
	s.registerReceipts()
	s.registerCeremony()
	if err := s.registerSpecification(mux); err != nil {
		return nil, err
	}
	mux.Handle("GET /metrics", o.Metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n")) // the client is gone if this fails
	})
	s.http = &http.Server{
		Handler:           s.observe(s.authorise(withoutEcho(mux))),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	return s, nil
}

func humaConfig(version string) huma.Config {
	strict := huma.Format{
		Marshal: huma.DefaultJSONFormat.Marshal,
		Unmarshal: func(data []byte, v any) error {
			return entry.DecodeStrict(data, maxDocument, v) // each operation bounds its body further
		},
	}
	c := huma.DefaultConfig("Grille gateway", version)
	c.Info.Description = "Eligibility questions between departments, answered by proofs. Subject ids belong in the body of " +
		"POST /v1/queries and nowhere else."
	c.Formats = map[string]huma.Format{"application/json": strict, "json": strict}
	c.OpenAPIPath, c.DocsPath, c.SchemasPath, c.CreateHooks = "", "", "", nil // we serve the specification; no scripts from afar
	c.RejectUnknownQueryParameters = true
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer", Description: "The content of keys/api.token in the gateway's folder"},
	}
	c.Security = []map[string][]string{{"token": {}}}
	return c
}

// registerSpecification renders the OpenAPI document once, after all operations are known.
func (s *Server) registerSpecification(mux *http.ServeMux) error {
	asJSON, err := s.api.OpenAPI().MarshalJSON()
	if err != nil {
		return fmt.Errorf("writing the OpenAPI document: %w", err)
	}
	asYAML, err := s.api.OpenAPI().YAML()
	if err != nil {
		return fmt.Errorf("writing the OpenAPI document: %w", err)
	}
	for path, doc := range map[string]struct {
		kind string
		body []byte
	}{"GET /openapi.json": {"application/openapi+json", asJSON}, "GET /openapi.yaml": {"application/openapi+yaml", asYAML}} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", doc.kind)
			_, _ = w.Write(doc.body) // the client is gone if this fails
		})
	}
	return nil
}

// authorise lets a request through with the token, and without it to the few paths that need none.
func (s *Server) authorise(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.open(r) || s.o.Guard.Allows(r) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="grille"`)
		writeProblem(w, NewProblem(http.StatusUnauthorized, CodeUnauthorized,
			"send the content of keys/api.token as `Authorization: Bearer TOKEN`"))
	})
}

func (s *Server) open(r *http.Request) bool {
	switch r.URL.Path {
	case "/healthz", "/readyz":
		return true
	case "/metrics":
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		return s.o.Config.Metrics == "loopback" && err == nil && from.Addr().Unmap().IsLoopback()
	}
	return false
}

// Serve listens and serves until ctx ends, then lets requests in flight finish for the configured time.
func (s *Server) Serve(ctx context.Context) error {
	listener, err := s.listen()
	if err != nil {
		return err
	}
	s.addr = listener.Addr()
	close(s.ready)
	s.http.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(ctx) }
	ended := make(chan error, 1)
	go func() { ended <- s.http.Serve(listener) }()
	s.o.Logger.Info("REST interface open", logkey.Address, s.addr.String())
	select {
	case err := <-ended:
		return fmt.Errorf("serving the REST interface: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.Config.Shutdown)
	defer cancel()
	err = s.http.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		s.o.Logger.Warn("requests were cut off at shutdown")
		err = s.http.Close()
	}
	<-ended // http.ErrServerClosed
	return err
}

func (s *Server) listen() (net.Listener, error) {
	if s.o.Config.TLSCertificate == "" && !config.Loopback(s.o.Config.Listen) {
		return nil, fmt.Errorf("opening the REST interface: %s is not a loopback address and there is no TLS certificate; "+
			"set api.tls_certificate and api.tls_key, or listen on 127.0.0.1", s.o.Config.Listen)
	}
	listener, err := net.Listen("tcp", s.o.Config.Listen)
	if err != nil {
		return nil, fmt.Errorf("opening the REST interface: %w", err)
	}
	if s.o.Config.TLSCertificate == "" {
		return listener, nil
	}
	pair, err := tls.LoadX509KeyPair(s.o.Config.TLSCertificate, s.o.Config.TLSKey)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the REST interface: %w", err), listener.Close())
	}
	return tls.NewListener(listener, &tls.Config{
		Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
	}), nil
}

// Addr waits for Serve to listen and returns the address, or nil when ctx ends first.
func (s *Server) Addr(ctx context.Context) net.Addr {
	select {
	case <-s.ready:
		return s.addr
	case <-ctx.Done():
		return nil
	}
}

// Handler is the interface without a listener.
func (s *Server) Handler() http.Handler { return s.http.Handler }
