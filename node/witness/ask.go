package witness

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/node/logkey"
)

var (
	// ErrDiverged says that a witness saw another history of this log. Either this folder is an old copy, or somebody else
	// signs with the log's key: find out before anything else is appended.
	ErrDiverged = errors.New("the witness saw another history of this log; is this folder an old copy, or the log key stolen?")
	// ErrUnknown says that a witness does not take this log, or not with this key. Give its operator the log's verifier key.
	ErrUnknown = errors.New("the witness does not take this log; give its operator the log's key")
	// ErrAnswer says that a witness answered otherwise than C2SP tlog-witness has it.
	ErrAnswer = errors.New("the witness's answer is not one of tlog-witness")
)

const (
	askTime   = 15 * time.Second // for a whole exchange
	maxAnswer = note.MaxSize
	maxTurns  = 3 // a witness may be moved on by a request of ours whose answer was lost, hardly twice
)

// A laterError carries how long a witness asks to be left alone.
type laterError struct {
	status int
	after  time.Duration
}

func (e *laterError) Error() string {
	return fmt.Sprintf("the witness answered with status %d; it is asked again later", e.status)
}

// A poster sends requests to one witness.
type poster struct {
	url    string
	client *http.Client
}

// newPoster trusts the system's authorities, or the certificates in a file alone.
func newPoster(prefix, certificate string) (*poster, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = 16 << 10
	if certificate != "" {
		pem, err := os.ReadFile(certificate)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate to trust: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", certificate)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &poster{prefix + "/add-checkpoint", &http.Client{Transport: transport, Timeout: askTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// post sends a body and returns the answer.
func (p *poster) post(ctx context.Context, body []byte) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("asking the witness: %w", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, nil, fmt.Errorf("asking the witness: %w", err)
	}
	if len(data) > maxAnswer {
		return nil, nil, fmt.Errorf("%w: more than %d bytes", ErrAnswer, maxAnswer)
	}
	return resp, data, nil
}

// ask has one witness cosign a head, proving its growth from the tree that the witness cosigned last.
func (c *Client) ask(ctx context.Context, out *outside, head ledger.Head) error {
	cp, err := note.Parse(head.Checkpoint)
	if err != nil {
		return err
	}
	signed := note.Assemble(cp, nil) // the mirrors' cosignatures are none of its business
	out.mu.Lock()
	old := out.kept.Tree.N
	out.mu.Unlock()
	for range maxTurns {
		proof, err := c.prove(out, old, cp.Tree.N)
		if err != nil {
			return err
		}
		resp, body, err := out.http.post(ctx, note.AddCheckpoint{Old: old, Proof: proof, Note: signed}.Encode())
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusConflict || resp.Header.Get("Content-Type") != note.SizeType {
			return c.answered(out, cp, signed, resp, body)
		}
		last := old
		if old, err = note.ParseSize(body); err != nil || old == last {
			return fmt.Errorf("%w: it is in conflict with its own size", errors.Join(ErrAnswer, err))
		}
		if old < last {
			c.o.Logger.Warn("outside witness has forgotten what it cosigned", logkey.Witness, out.key.Name(), logkey.Size, old)
		}
	}
	return fmt.Errorf("%w: its size changes with each request", ErrAnswer)
}

// prove returns the consistency proof from what the witness has to what it should cosign.
func (c *Client) prove(out *outside, old, size int64) ([]tlog.Hash, error) {
	if have := c.o.Store.Size(c.o.Origin); uint64(old) > have {
		c.o.Logger.Error("outside witness has cosigned more than this log holds", logkey.Witness, out.key.Name(), logkey.Size, old)
		return nil, fmt.Errorf("%w: it cosigned %d entries, here are %d", ErrDiverged, old, have)
	}
	switch {
	case old > size:
		return nil, &laterError{status: http.StatusConflict} // it saw what is not final here yet
	case old == 0 || old == size:
		return nil, nil
	}
	return c.o.Store.Consistency(c.o.Origin, uint64(old), uint64(size))
}

// answered takes any answer but a conflict of sizes.
func (c *Client) answered(out *outside, cp note.Checkpoint, signed []byte, resp *http.Response, body []byte) error {
	switch status := resp.StatusCode; {
	case status == http.StatusOK:
		return c.cosigned(out, cp, signed, body)
	case status == http.StatusConflict, status == http.StatusUnprocessableEntity:
		c.o.Logger.Error("outside witness saw another history of this log", logkey.Witness, out.key.Name(), logkey.Status, status)
		return fmt.Errorf("%w: status %d", ErrDiverged, status)
	case status == http.StatusNotFound, status == http.StatusForbidden:
		return fmt.Errorf("%w: status %d", ErrUnknown, status)
	case status == http.StatusTooManyRequests, status >= http.StatusInternalServerError:
		seconds, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 31)
		if err != nil {
			seconds = 0 // absent, or a date
		}
		return &laterError{status, time.Duration(seconds) * time.Second}
	default:
		return fmt.Errorf("%w: status %d", ErrAnswer, status)
	}
}

// cosigned verifies and keeps a cosignature.
func (c *Client) cosigned(out *outside, cp note.Checkpoint, signed, body []byte) error {
	sigs, err := note.ParseLines(body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	sig, err := note.VerifyOutside(out.key, cp.Text, sigs)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	if ahead := sig.Time.Sub(c.o.Now()); ahead > ledger.ClockAllowance {
		return fmt.Errorf("%w: its clock is %s ahead", ErrAnswer, ahead.Truncate(time.Second))
	}
	return out.keep(cp, signed, sig)
}
