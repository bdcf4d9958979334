package officer

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/exchange/trace"
	"github.com/grille-gateway/grille/ledger/entry"
)

// Kinds of journal payloads.
const (
	KindToken    = "officer.token"
	KindRedeemed = "officer.redeemed"
)

// Bounds of a token.
const (
	MaxLife   = 31 * 24 * time.Hour
	maxTokens = 100_000 // issued and not redeemed: an officer's desk, not an attacker's memory
)

var (
	// ErrToken reports a token that was never issued, was redeemed or has expired: identify the person again and issue another. The
	// three are not told apart.
	ErrToken = errors.New("no such token is to be redeemed")
	// ErrIssue reports what no token can be issued for: an id that is none of its scheme, a life out of bounds, or too many tokens that wait
	// to be redeemed. The error does not hold the id.
	ErrIssue = errors.New("no token can be issued for that")
	// ErrNotFinal reports a gateway whose log has no final head yet. Try again.
	ErrNotFinal = errors.New("nothing of this member's log is final yet")
)

// token is what is kept of one: whom it is about, as the key that tags are made of, and until when.
type token struct {
	subject circuits.Key
	expires time.Time
}

type tokenRecord struct {
	Hash    receipt.Hash `json:"hash"`
	Subject []byte       `json:"subject"` // subject key
	Expires string       `json:"expires"`
}

type redeemedRecord struct {
	Hash receipt.Hash `json:"hash"`
}

// Replay takes back one journal payload of this package's kinds.
func (o *Officer) Replay(kind string, payload []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch kind {
	case KindToken:
		var r tokenRecord
		if err := json.Unmarshal(payload, &r); err != nil || len(r.Subject) != len(circuits.Key{}) {
			return fmt.Errorf("replaying a token: malformed journal payload")
		}
		expires, err := entry.ParseTime(r.Expires)
		if err != nil {
			return fmt.Errorf("replaying a token: malformed journal payload")
		}
		o.tokens[r.Hash] = token{circuits.Key(r.Subject), expires}
	case KindRedeemed:
		var r redeemedRecord
		if err := json.Unmarshal(payload, &r); err != nil {
			return fmt.Errorf("replaying a token: malformed journal payload")
		}
		delete(o.tokens, r.Hash)
	}
	return nil
}

// hashToken needs no salt: a token has 256 random bits.
func hashToken(text string) receipt.Hash { return receipt.Sum("grille/v1/subject-token", []byte(text)) }

// Issue makes a one-time token for a person whom the officer has identified. It gets the log of the queries about that person, and nothing
// else. The gateway keeps its hash, the person's subject key (sealed) and its end; whether the person is in any dataset is not
// looked at. An empty scheme is the network's only one.
func (o *Officer) Issue(scheme, subject string, life time.Duration) (text string, expires time.Time, err error) {
	if life < time.Minute || life > MaxLife {
		return "", expires, fmt.Errorf("issuing a token: its life must be a minute to %d days: %w", MaxLife/(24*time.Hour), ErrIssue)
	}
	if scheme == "" && len(o.opts.Config.Schemes) == 1 {
		scheme = o.opts.Config.Schemes[0].Name
	}
	known, ok := o.opts.Config.Scheme(scheme)
	if !ok {
		return "", expires, fmt.Errorf("issuing a token: name one of the network's identifier schemes: %w", ErrIssue)
	}
	id, err := schema.NormaliseID(known, subject)
	if err != nil {
		return "", expires, fmt.Errorf("issuing a token: %w: %w", ErrIssue, err)
	}
	var random [32]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", expires, fmt.Errorf("issuing a token: %w", err)
	}
	text = hex.EncodeToString(random[:])
	expires = o.opts.Now().Add(life).UTC().Truncate(time.Second)
	hash, key := hashToken(text), circuits.SubjectKey(o.opts.Config.Instance, known.Name, id)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.forget()
	if len(o.tokens) >= maxTokens {
		return "", expires, fmt.Errorf("issuing a token: %d are waiting to be redeemed: %w", len(o.tokens), ErrIssue)
	}
	if err := o.opts.Book.Keep(KindToken, tokenRecord{hash, key[:], entry.FormatTime(expires)}); err != nil {
		return "", expires, fmt.Errorf("issuing a token: %w", err)
	}
	o.tokens[hash] = token{key, expires}
	o.opts.Logger.Info("subject token issued", slog.Time("expires", expires))
	return text, expires, nil
}

// forget drops expired tokens. o.mu is held.
func (o *Officer) forget() {
	now := o.opts.Now()
	for hash, t := range o.tokens {
		if now.After(t.expires) {
			delete(o.tokens, hash)
		}
	}
}

// SubjectLog redeems a token and returns a subject file: every query about the person, issued in a time, that this gateway answered, refused
// or asked. Since and until may be empty. That the token was used is on disk before the file leaves; a file that cannot be made leaves the
// token as it was. Whoever nobody asked about, known here or not, gets the same empty file.
func (o *Officer) SubjectLog(text, since, until string) ([]byte, error) {
	o.making.Lock()
	defer o.making.Unlock()
	hash := hashToken(text)
	t, err := o.look(hash)
	if err != nil {
		return nil, err
	}
	f := o.file(trace.KindSubject)
	f.Since, f.Until = since, until
	want := Filter{Since: since, Until: until}
	add := func(r *trace.Record) error {
		if !want.matches(r) {
			return nil
		}
		if len(f.Records) == trace.MaxRecords {
			return trace.ErrTooMuch
		}
		f.Records = append(f.Records, r)
		return nil
	}
	err = o.opts.Holder.Traces(func(about []byte) bool { return bytes.Equal(about, t.subject[:]) }, add)
	if err == nil {
		err = o.opts.Requester.Traces(func(about circuits.Key) bool { return about == t.subject }, add)
	}
	if err != nil {
		return nil, fmt.Errorf("writing a subject's log: %w", err)
	}
	data, err := o.finish(f)
	if err != nil {
		return nil, err
	}
	return data, o.redeem(hash)
}

// look returns an unused token.
func (o *Officer) look(hash receipt.Hash) (token, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.forget()
	t, ok := o.tokens[hash]
	if !ok {
		return t, fmt.Errorf("redeeming a token: %w", ErrToken)
	}
	return t, nil
}

// redeem uses a token up. o.making is held: nobody else does meanwhile.
func (o *Officer) redeem(hash receipt.Hash) error {
	if err := o.opts.Book.Keep(KindRedeemed, redeemedRecord{hash}); err != nil {
		return fmt.Errorf("redeeming a token: %w", err)
	}
	o.mu.Lock()
	delete(o.tokens, hash)
	o.mu.Unlock()
	o.opts.Logger.Info("subject log handed out")
	return nil
}
