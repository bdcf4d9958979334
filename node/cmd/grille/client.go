package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/config"
)

// client talks to a running gateway.
type client struct {
	folder config.Folder
	base   string
	token  string
	http   *http.Client
}

// clientFor reads address and token from a gateway's folder.
func clientFor(f config.Folder) (*client, config.Config, error) {
	settings, err := config.Load(f)
	if err != nil {
		return nil, settings, err
	}
	token, err := config.ReadSecret(f.Token())
	if err != nil {
		return nil, settings, hint(fmt.Errorf("reading the API token: %w", err), "grille serve %s", f)
	}
	c := &client{folder: f, base: "http://" + reachable(settings.API.Listen), token: strings.TrimSpace(string(token)),
		http: &http.Client{Transport: &http.Transport{Proxy: nil}}}
	if settings.API.TLSCertificate != "" {
		pinned, err := tls.LoadX509KeyPair(f.Path(settings.API.TLSCertificate), f.Path(settings.API.TLSKey))
		if err != nil {
			return nil, settings, fmt.Errorf("reading the API's certificate: %w", err)
		}
		c.base = "https://" + reachable(settings.API.Listen)
		c.http.Transport = &http.Transport{Proxy: nil, TLSClientConfig: pin(pinned.Certificate[0])}
	}
	return c, settings, nil
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

// maxReply bounds what a gateway may answer in bytes: a page of a thousand entries without content, or a hundred with.
const maxReply = 16 << 20

// send makes one request and returns the body of a 2xx answer. Anything else is an error made from the problem in it.
func (c *client) send(ctx context.Context, method, path, kind string, body io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := c.http.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) { // without the URL, which says nothing new
			err = wrapped.Err
		}
		return nil, hint(fmt.Errorf("reaching the gateway at %s: %w", c.base, err), "grille serve %s", c.folder)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxReply+1))
	if err != nil {
		return nil, fmt.Errorf("reading the gateway's answer: %w", err)
	}
	if len(data) > maxReply {
		return nil, fmt.Errorf("the gateway's answer has more than %d bytes", maxReply)
	}
	if res.StatusCode/100 == 2 {
		return data, nil
	}
	return nil, refused(res.StatusCode, data)
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

func refused(status int, data []byte) error {
	var p problemError
	if err := json.Unmarshal(data, &p.Problem); err != nil || p.Code == "" {
		return fmt.Errorf("the gateway answered with HTTP status %d", status)
	}
	if p.Code == api.CodeUnauthorized {
		return hint(&p, "restart the gateway if keys/api.token was changed, or pass the right folder with --dir")
	}
	return &p
}

// get fetches JSON into v.
func (c *client) get(ctx context.Context, path string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	data, err := c.send(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	return decodeReply(data, v)
}

// post sends v as JSON and reads the answer into reply.
func (c *client) post(ctx context.Context, path string, v, reply any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	data, err := c.send(ctx, http.MethodPost, path, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	return decodeReply(data, reply)
}

func decodeReply(data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("reading the gateway's answer: is it of another version? %w", err)
	}
	return nil
}

// items is a list as the gateway sends it.
type items[T any] struct {
	Items []T `json:"items"`
}

// client is the gateway of --dir.
func (a *app) client() (*client, error) {
	c, _, err := clientFor(config.Folder(a.dir))
	return c, err
}
