package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/client"
	"github.com/grille-gateway/grille/node/config"
)

// gatewayClient talks to a running gateway and adds to its errors what to do next.
type gatewayClient struct {
	*client.Client
	folder config.Folder
}

// clientFor reads address and token from a gateway's folder.
func clientFor(f config.Folder) (*gatewayClient, config.Config, error) {
	settings, err := config.Load(f)
	if err != nil {
		return nil, settings, err
	}
	token, err := config.ReadSecret(f.Token())
	if err != nil {
		return nil, settings, hint(fmt.Errorf("reading the API token: %w", err), "grille serve %s", f)
	}
	scheme, trusted := "http://", (*tls.Config)(nil)
	if settings.API.TLSCertificate != "" {
		pinned, err := tls.LoadX509KeyPair(f.Path(settings.API.TLSCertificate), f.Path(settings.API.TLSKey))
		if err != nil {
			return nil, settings, fmt.Errorf("reading the API's certificate: %w", err)
		}
		scheme, trusted = "https://", pin(pinned.Certificate[0])
	}
	return &gatewayClient{client.New(scheme+reachable(settings.API.Listen), strings.TrimSpace(string(token)), trusted), f}, settings, nil
}

// pin accepts one certificate, the one in the settings: a command runs on the gateway's machine and needs no authority.
func pin(leaf []byte) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true, // replaced by VerifyConnection
		MinVersion:         tls.VersionTLS12,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || !bytes.Equal(s.PeerCertificates[0].Raw, leaf) {
				return errors.New("the gateway has another certificate than its settings name; restart it")
			}
			return nil
		},
	}
}

// reachable is where a listener on all interfaces is reached from here.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		if ip.To4() != nil {
			return net.JoinHostPort("127.0.0.1", port)
		}
		return net.JoinHostPort("::1", port)
	}
	return listen
}

// get fetches a path: JSON into a pointer, or the body as it is into a *[]byte.
func (c *gatewayClient) get(ctx context.Context, path string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return c.advise(c.Get(ctx, path, v))
}

// post sends v as JSON and reads the answer into reply.
func (c *gatewayClient) post(ctx context.Context, path string, v, reply any) error {
	return c.advise(c.Post(ctx, path, v, reply))
}

// send posts a body of another kind and reads the answer into reply.
func (c *gatewayClient) send(ctx context.Context, path, kind string, body io.Reader, reply any) error {
	return c.advise(c.Send(ctx, path, kind, body, reply))
}

// advise adds the next command to what went wrong.
func (c *gatewayClient) advise(err error) error {
	var p *api.Problem
	switch {
	case errors.Is(err, client.ErrUnreachable):
		return hint(err, "grille serve %s", c.folder)
	case !errors.As(err, &p):
		return err
	case p.Code == api.CodeUnauthorized:
		return hint(&problemError{*p}, "restart the gateway if keys/api.token was changed, or pass the right folder with --dir")
	}
	return &problemError{*p}
}

// problemError is a problem that the gateway answered with.
type problemError struct{ api.Problem }

func (e *problemError) Error() string {
	text := e.Detail
	if text == "" {
		text = e.Title
	}
	text = fmt.Sprintf("%s (%s)", text, e.Code)
	for _, f := range e.Errors {
		text += fmt.Sprintf("\n  %s: %s", f.Field, f.Message)
	}
	return text
}

// hasCode tells whether the gateway answered with a problem of that code.
func hasCode(err error, code string) bool {
	var p *problemError
	return errors.As(err, &p) && p.Code == code
}

// items is a list as the gateway sends it.
type items[T any] struct {
	Items []T `json:"items"`
}

// client is the gateway of --dir.
func (a *app) client() (*gatewayClient, error) {
	c, _, err := clientFor(config.Folder(a.dir))
	return c, err
}
