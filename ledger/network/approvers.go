package network

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/grille-gateway/grille/ledger/entry"
)

// ErrApprovals says that an entry lacks approvals that its log's rule asks for. On somebody's log such an entry is void.
var ErrApprovals = errors.New("entry is not approved as the network configuration asks")

// Approvers says how many of which people must sign a member's policies, acceptances and groups, from one entry of its log on. The
// keys are no gateway's: approvers keep them on machines of their own.
//
// A rule begins at an index that all members read in one document, and it never changes afterwards: which entries count is the
// same for all of them, whenever they replay the log. What stood on the log before counts without approvals.
type Approvers struct {
	From   uint64   `json:"from"`   // index of the first entry that it is about
	Number int      `json:"number"` // how many of the keys must sign; 0: none any more
	Keys   []string `json:"keys"`   // base64 of Ed25519 public keys, ascending
}

// RuleAt returns the rule for the entry at an index of a log, out of the rules of the log; false if nothing asks for approvals there.
func RuleAt(rules []Approvers, index uint64) (Approvers, bool) {
	for _, r := range slices.Backward(rules) {
		if r.From <= index {
			return r, r.Number > 0
		}
	}
	return Approvers{}, false
}

// CheckApprovals reports ErrApprovals for an entry that lacks approvals which the rules of its log ask for at its index. Of entries
// that nobody approves it says nothing.
func CheckApprovals(rules []Approvers, origin string, index uint64, e entry.Entry) error {
	a, ok := e.(entry.Approved)
	if !ok {
		return nil
	}
	rule, ok := RuleAt(rules, index)
	if !ok {
		return nil
	}
	keys, err := entry.Approvers(origin, a)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrApprovals, err)
	}
	if n := rule.count(keys); n < rule.Number {
		return fmt.Errorf("%w: %d of %d approvals", ErrApprovals, n, rule.Number)
	}
	return nil
}

// count returns how many distinct keys of the rule are among some keys.
func (r Approvers) count(keys []string) int {
	n := 0
	for _, key := range r.Keys {
		if slices.Contains(keys, key) {
			n++
		}
	}
	return n
}

// Describe says a rule in a few words, "" where nothing is asked for.
func (r Approvers) Describe() string {
	if r.Number == 0 {
		return fmt.Sprintf("none from entry %d on", r.From)
	}
	return fmt.Sprintf("%d of %s from entry %d on", r.Number, strings.Join(r.Keys, ", "), r.From)
}

func describeApprovers(rules []Approvers) string {
	var out []string
	for _, r := range rules {
		out = append(out, r.Describe())
	}
	return strings.Join(out, "; ")
}

// Rules returns the approval rules of a log, current or not, as far as the versions of this chain tell: those of the newest one in
// which it was a member's log. Of a log that ended before the pinned version nothing is known, and all of it counts.
func (c *Chain) Rules(origin string) []Approvers {
	for _, v := range slices.Backward(c.versions) {
		if m, ok := v.Owner(origin); ok {
			return slices.Clone(m.Approvers)
		}
	}
	return nil
}

// validateApprovers checks the rules of one member and puts the approvers' raw keys into raw.
func (m Member) validateApprovers(raw map[string][]byte) error {
	if len(m.Approvers) > MaxApproverRules {
		return refuse("members.approvers", strconv.Itoa(len(m.Approvers)), fmt.Sprintf("at most %d rules", MaxApproverRules))
	}
	for i, r := range m.Approvers {
		switch {
		case r.From > MaxTreeSize || i > 0 && r.From <= m.Approvers[i-1].From:
			return refuse("members.approvers.from", strconv.FormatUint(r.From, 10), "indexes in ascending order")
		case r.Number < 0 || r.Number > len(r.Keys) || len(r.Keys) > entry.MaxApprovals || (r.Number == 0) != (len(r.Keys) == 0):
			return refuse("members.approvers.number", strconv.Itoa(r.Number), fmt.Sprintf("1 to the number of keys, of at most %d; or 0 and no keys", entry.MaxApprovals))
		case r.Keys == nil:
			return refuse("members.approvers.keys", "null", "a list")
		}
		for k, key := range r.Keys {
			public, err := base64.StdEncoding.Strict().DecodeString(key)
			if err != nil || len(public) != ed25519.PublicKeySize || base64.StdEncoding.EncodeToString(public) != key {
				return refuse("members.approvers.keys", key, "base64 of a 32-byte Ed25519 public key")
			}
			if k > 0 && r.Keys[k-1] >= key {
				return refuse("members.approvers.keys", key, "distinct keys in ascending order")
			}
			raw["approvers "+key] = public
		}
	}
	return nil
}

// approverKeys counts the keys in the rules of all members; a rule without keys counts as one.
func (c *Configuration) approverKeys() int {
	n := 0
	for _, m := range c.Members {
		for _, r := range m.Approvers {
			n += max(1, len(r.Keys))
		}
	}
	return n
}

// checkApprovers enforces rule 8 for a member that stays: what its log's rules say stays, and there may be one more. A log's next
// generation has rules of its own.
func checkApprovers(old, m Member) error {
	if m.LogKey != old.LogKey {
		return nil
	}
	n := len(old.Approvers)
	if len(m.Approvers) < n || len(m.Approvers) > n+1 ||
		!slices.EqualFunc(old.Approvers, m.Approvers[:n], func(a, b Approvers) bool { return a.Describe() == b.Describe() }) {
		return refuse("members.approvers", describeApprovers(m.Approvers), "the rules of the version before, and at most one more")
	}
	return nil
}
