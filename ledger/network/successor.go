package network

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/grille-gateway/grille/ledger/entry"
)

// CheckSuccessor checks that next may follow prev, which is valid: that next is valid by itself, that it names prev, and
// these rules, so that no history of a log is lost or grows two ways from one version to the next.
//
//  1. A log's key and its origin change together, by one generation, and the old log gets a fence.
//  2. The log of a member that leaves gets a fence. Other logs get none: a log ends only with its key.
//  3. Fences of earlier versions stay as they are, all of them.
//  4. A mirror key changes by one generation. No key moves to another member or another role.
//  5. A member that is new is no mirror: it first copies the logs.
//  6. The committees overlap (checkOverlap).
//  7. Identifier schemes stay; there may be more. The mode stays, and the version expires no earlier than the one before.
//  8. A log's approval rules stay; there may be one more, which begins later (checkApprovers).
//  9. A circuit with keys from a ceremony stays as it is until its `until`, which may be set and made earlier (checkCircuits).
//
// An error wraps ErrConfiguration, and a *Refusal names the field.
func CheckSuccessor(prev, next *Configuration) error {
	if err := next.validate(); err != nil {
		return err
	}
	switch {
	case next.Instance != prev.Instance:
		return refuse("instance", next.Instance, prev.Instance+", as in the version before")
	case next.Version != prev.Version+1:
		return refuse("version", strconv.Itoa(next.Version), fmt.Sprintf("%d, for it follows %d", prev.Version+1, prev.Version))
	case next.Previous != prev.Digest():
		return refuse("previous", next.Previous, "the digest of the version before, "+prev.Digest())
	case next.Mode != prev.Mode:
		return refuse("mode", next.Mode, prev.Mode+", as in the version before; another mode is another instance")
	}
	for _, rule := range []func(prev, next *Configuration) error{
		checkFences, checkMembers, checkKeys, checkOverlap, checkSchemes, checkCircuits, checkExpiry,
	} {
		if err := rule(prev, next); err != nil {
			return err
		}
	}
	return nil
}

// checkFences enforces rule 3, and of rule 2 that what is fenced is a log of prev that ends (next.validate saw that it is
// no log of next).
func checkFences(prev, next *Configuration) error {
	for _, old := range prev.Fences {
		if f, ok := next.Fence(old.Origin); !ok || f != old {
			return refuse("fences.origin", old.Origin, "the fence as it stands in the version before")
		}
	}
	for _, f := range next.Fences {
		if _, ok := prev.Fence(f.Origin); ok {
			continue
		}
		owner, ok := prev.Owner(f.Origin)
		switch {
		case !ok:
			return refuse("fences.origin", f.Origin, "a log of the version before")
		case f.LogKey != owner.LogKey:
			return refuse("fences.log_key", f.LogKey, owner.LogKey+", the log's key in the version before")
		}
	}
	return nil
}

// checkMembers enforces rules 1, 2, 4 and 5 for each member.
func checkMembers(prev, next *Configuration) error {
	for _, old := range prev.Members {
		m, ok := next.Member(old.Name)
		if !ok {
			if _, fenced := next.Fence(old.Origin()); !fenced {
				return refuse("members.name", old.Name, "a fence for "+old.Origin()+", whose owner leaves")
			}
			continue
		}
		if err := checkRotation(prev, next, old, m); err != nil {
			return err
		}
	}
	for _, m := range next.Members {
		if _, ok := prev.Member(m.Name); !ok && m.Mirror {
			return refuse("members.mirror", m.Name, "false for a member that is new; make it a mirror in a later version")
		}
	}
	return nil
}

// checkRotation compares the log and mirror keys of one member. That a name is the same and the key another, or the other
// way round, is refused by comparing names here and by checkKeys.
func checkRotation(prev, next *Configuration, old, m Member) error {
	logs := generation(m.Origin(), next.Instance, "log") - generation(old.Origin(), prev.Instance, "log")
	_, fenced := next.Fence(old.Origin())
	switch {
	case m.LogKey == old.LogKey:
	case logs == 0:
		return refuse("members.log_key", m.LogKey, "a new origin with a new key: "+m.Name+"'s log ends and the next generation begins")
	case logs != 1:
		return refuse("members.log_key", m.LogKey, "the generation after "+old.Origin())
	case !fenced:
		return refuse("members.log_key", m.LogKey, "a fence for "+old.Origin()+", which ends")
	}
	mirrors := generation(m.MirrorName(), next.Instance, "mirror") - generation(old.MirrorName(), prev.Instance, "mirror")
	if m.MirrorKey != old.MirrorKey && mirrors != 1 {
		return refuse("members.mirror_key", m.MirrorKey, "the generation after "+old.MirrorName())
	}
	return checkApprovers(old, m)
}

// checkKeys enforces rule 4 between versions: a key of prev stays where it is or is used by nobody. next.validate saw
// that it has each key once.
func checkKeys(prev, next *Configuration) error {
	type holder struct{ name, role string } // role for logs and mirrors: the key's name, which has the generation
	holders := make(map[string]holder)
	each := func(c *Configuration, f func(key []byte, h holder) error) error {
		for _, m := range c.Members {
			raw, err := m.validate(c.Instance)
			if err != nil {
				return err
			}
			for _, role := range []string{"log_key", "mirror_key", "transport_key", "query_key"} {
				h := holder{m.Name, role}
				switch role {
				case "log_key":
					h.role += " of " + m.Origin()
				case "mirror_key":
					h.role += " of " + m.MirrorName()
				}
				if err := f(raw[role], h); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := each(prev, func(key []byte, h holder) error { holders[string(key)] = h; return nil }); err != nil {
		return err
	}
	return each(next, func(key []byte, h holder) error {
		if old, ok := holders[string(key)]; ok && old != h {
			role, _, _ := strings.Cut(h.role, " ")
			return refuse("members."+role, h.name, "a new key; the version before has it as "+old.name+"'s "+old.role)
		}
		return nil
	})
}

// checkOverlap refuses a change of the committee after which a log could have two contradicting final trees F, by a quorum
// of the n mirrors of prev, and T, by a quorum of the n' mirrors of next.
//
// Let q and q' be the quorums, u the number of members that are a mirror in either version, and let fewer than
// f+1 = min(2q-n, 2q'-n') mirrors lie, which is the bound of the weaker version. The two quorums share at least q+q'-u
// mirrors. If that is more than f, one of them is honest, and an honest mirror never cosigns two trees of which neither
// contains the other, whichever version it acts under and whatever key it has: its state is the same. So F and T agree.
//
// The rule is tight: where q+q'-u <= f there are two quorums whose common mirrors may all lie. It contains the weaker
// rule q' > c + f, in which at most c = min(n-q, mirrors of both) honest mirrors were fooled before they handed over: as u
// is at least n, q' > u-q+f >= n-q+f >= c+f. With the usual quorums one mirror can be added or removed at a time, and
// none exchanged in one step: add the new one, then remove the old one.
func checkOverlap(prev, next *Configuration) error {
	var either int // u
	for _, m := range prev.Mirrors() {
		if now, ok := next.Member(m.Name); !ok || !now.Mirror {
			either++
		}
	}
	n := len(next.Mirrors())
	either += n
	if overlaps(len(prev.Mirrors()), prev.Quorum(), n, next.Quorum(), either) {
		return nil
	}
	names := make([]string, 0, n)
	for _, m := range next.Mirrors() {
		names = append(names, m.Name)
	}
	return refuse("members.mirror", strings.Join(names, " "),
		"a smaller change: quorums of both versions must share an honest mirror. Add or remove one at a time, the new one first")
}

// overlaps says whether any q of n mirrors and any q2 of n2, either of them together, share one that is honest.
func overlaps(n, q, n2, q2, either int) bool {
	liars := min(2*q-n, 2*q2-n2) - 1
	return q+q2-either > liars
}

// checkSchemes enforces rule 7 for schemes: subject keys are derived with them.
func checkSchemes(prev, next *Configuration) error {
	for _, s := range prev.Schemes {
		if !slices.Contains(next.Schemes, s) {
			return refuse("schemes.name", s.Name, "the scheme as it stands in the version before")
		}
	}
	return nil
}

// checkExpiry enforces rule 7 for the expiry.
func checkExpiry(prev, next *Configuration) error {
	before, err := entry.ParseTime(prev.Expires)
	if err != nil {
		return refuse("expires", prev.Expires, "a time in the version before")
	}
	if after, err := entry.ParseTime(next.Expires); err != nil || after.Before(before) {
		return refuse("expires", next.Expires, "a time no earlier than "+prev.Expires)
	}
	return nil
}
