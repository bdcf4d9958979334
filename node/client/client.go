// Package client calls a gateway's REST interface.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/grille-gateway/grille/node/api"
)

// MaxReply bounds a gateway's answer in bytes: a page of ledger entries is the largest.
const MaxReply = 128 << 20

// ErrUnreachable reports that nothing answered at the gateway's address: is it running?
var ErrUnreachable = errors.New("no gateway answers")

// A Client calls one gateway.
type Client struct {
	Base  string // http://127.0.0.1:8443
	Token string // of keys/api.token
	HTTP  *http.Client
}

// New makes a client without a time limit of its own: contexts bound each call.
func New(base, token string) *Client {
	return &Client{Base: base, Token: token, HTTP: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute}}}
}

// Get reads a path into out, a pointer for JSON or a *[]byte for the body as it is.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.do(ctx, http.MethodGet, path, "", nil, out)
}

// Post sends v as JSON.
func (c *Client) Post(ctx context.Context, path string, v, out any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("calling %s: %w", path, err)
	}
	return c.do(ctx, http.MethodPost, path, "application/json", bytes.NewReader(body), out)
}

// Send sends a body of another type, streaming it.
func (c *Client) Send(ctx context.Context, path, contentType string, body io.Reader, out any) error {
	return c.do(ctx, http.MethodPost, path, contentType, body, out)
}

// do makes one request. A problem that the gateway reports is returned as *api.Problem.
func (c *Client) do(ctx context.Context, method, path, contentType string, body io.Reader, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, body)
	if err != nil {
		return fmt.Errorf("calling %s: %w", path, err)
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("calling %s: %w", path, ctx.Err())
		}
		return fmt.Errorf("calling %s: %w at %s: %w", path, ErrUnreachable, c.Base, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, MaxReply))
	if err != nil {
		return fmt.Errorf("calling %s: reading the reply: %w", path, err)
	}
	if resp.StatusCode >= 300 {
		return problem(resp, data)
	}
	if out == nil {
		return nil
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = data
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("calling %s: reading the reply: %w", path, err)
	}
	return nil
}

func problem(resp *http.Response, data []byte) error {
	var p api.Problem
	if json.Unmarshal(data, &p) != nil || p.Status == 0 {
		return fmt.Errorf("the gateway answered %s", resp.Status)
	}
	return &p
}
