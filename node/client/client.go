// Package client calls a gateway's REST interface.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/grille-gateway/grille/node/api"
)

// MaxReply bounds a gateway's answer in bytes: the largest file of receipts (trace.MaxFile).
const MaxReply = 32 << 20

// ErrUnreachable reports that nothing answered at the gateway's address: is it running?
var ErrUnreachable = errors.New("no gateway answers")

// ErrReply reports an answer that is not a gateway's of this version.
var ErrReply = errors.New("the gateway's answer cannot be read")

// A Client calls one gateway. It is safe for concurrent use. A problem that the gateway reports is returned as *api.Problem.
type Client struct {
	Base  string // http://127.0.0.1:8443
	Token string // of keys/api.token
	HTTP  *http.Client
}

// New makes a client without a time limit of its own: contexts bound each call. It uses no proxy. A nil configuration means no TLS or
// the system's authorities.
func New(base, token string, tls *tls.Config) *Client {
	return &Client{Base: base, Token: token, HTTP: &http.Client{
		Transport: &http.Transport{TLSClientConfig: tls, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute}}}
}

// Get reads a path into out: a pointer for JSON, a *[]byte for the body as it is, nil to drop it.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.call(ctx, http.MethodGet, path, "", nil, out)
}

// Post sends v as JSON.
func (c *Client) Post(ctx context.Context, path string, v, out any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("calling %s: %w", path, err)
	}
	return c.call(ctx, http.MethodPost, path, "application/json", bytes.NewReader(body), out)
}

// Send posts a body of another type, streaming it.
func (c *Client) Send(ctx context.Context, path, contentType string, body io.Reader, out any) error {
	return c.call(ctx, http.MethodPost, path, contentType, body, out)
}

func (c *Client) call(ctx context.Context, method, path, contentType string, body io.Reader, out any) error {
	data, err := c.do(ctx, method, path, contentType, body)
	if err != nil || out == nil {
		return err
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = data
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("reading the gateway's answer: %w: is it of another version? %w", ErrReply, err)
	}
	return nil
}

// do makes one request and returns the body of a 2xx answer.
func (c *Client) do(ctx context.Context, method, path, contentType string, body io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, body)
	if err != nil {
		return nil, fmt.Errorf("calling the gateway: %w", err)
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) { // without the URL, which says nothing new
			err = wrapped.Err
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("calling the gateway at %s: %w", c.Base, ctx.Err())
		}
		return nil, fmt.Errorf("reaching the gateway at %s: %w: %w", c.Base, ErrUnreachable, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, MaxReply+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the gateway's answer: %w", err)
	case len(data) > MaxReply:
		return nil, fmt.Errorf("reading the gateway's answer: %w: more than %d bytes", ErrReply, MaxReply)
	case resp.StatusCode/100 != 2:
		return nil, problem(resp.StatusCode, data)
	}
	return data, nil
}

func problem(status int, data []byte) error {
	var p api.Problem
	if err := json.Unmarshal(data, &p); err != nil || p.Code == "" {
		return fmt.Errorf("%w: HTTP status %d", ErrReply, status)
	}
	return &p
}
