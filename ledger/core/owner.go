package core

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/note"
)

// ErrNoProgress says that a mirror answered without taking anything. Wait before the next push to it.
var ErrNoProgress = errors.New("mirror made no progress")

// An Owner is the state of a log's owner towards its mirrors. It drives one checkpoint at a time, the target, to a quorum
// and only then moves to the newest: if each mirror were given whatever is newest when its turn comes, a busy log's mirrors
// might never cosign the same size.
//
// Its fields are values; it is not safe for concurrent use.
type Owner struct {
	quorum  int
	ahead   time.Duration // how far a cosignature's time may be ahead of our clock
	mirrors map[string]*peer
	latest  tlog.Tree // signed last
	target  tlog.Tree // being cosigned
	final   tlog.Tree // has a quorum
	cosigs  map[string]note.Cosignature
	kept    map[string]note.Cosignature // of final; the same map as cosigs while target is final
}

type peer struct {
	have  int64     // entries it holds, as far as known
	asked bool      // it has told where it stands since it last cosigned
	sent  time.Time // last cosignature of target came then, by our clock
}

// NewOwner returns the state after a start: latest is the tree signed last, final the newest one known to be final. The
// mirrors are assumed to hold everything; one that does not answers where it stands. A cosignature whose time is further
// ahead of our clock than the allowance was taken when our clock was ahead, and gives way to any other.
func NewOwner(quorum int, allowance time.Duration, mirrors []string, latest, final tlog.Tree, kept []note.Cosignature) *Owner {
	o := &Owner{quorum: quorum, ahead: allowance, mirrors: make(map[string]*peer), latest: latest, final: final, kept: byMirror(kept)}
	for _, m := range mirrors {
		o.mirrors[m] = &peer{have: latest.N}
	}
	o.target, o.cosigs = o.final, o.kept
	o.advance()
	return o
}

func byMirror(list []note.Cosignature) map[string]note.Cosignature {
	m := make(map[string]note.Cosignature)
	for _, c := range list {
		m[c.Mirror] = c
	}
	return m
}

// advance moves the target to the newest tree if the present one is final.
func (o *Owner) advance() {
	if o.target.N == o.final.N && o.latest.N > o.target.N {
		o.target, o.cosigs = o.latest, make(map[string]note.Cosignature)
		for _, p := range o.mirrors {
			p.sent = time.Time{}
		}
	}
}

// Signed tells that the owner signed a larger tree.
func (o *Owner) Signed(tree tlog.Tree) {
	o.latest = tree
	o.advance()
}

// Target returns the tree being cosigned, and Final the newest one with a quorum.
func (o *Owner) Target() tlog.Tree { return o.target }

// Final returns the newest tree with a quorum.
func (o *Owner) Final() tlog.Tree { return o.final }

// Wants tells whether a mirror should be sent the target now, and from which entry on: it has not cosigned it, or its
// last cosignature came a heartbeat ago or more.
func (o *Owner) Wants(mirror string, now time.Time, heartbeat time.Duration) (tree tlog.Tree, from int64, ok bool) {
	p, known := o.mirrors[mirror]
	if !known || o.target.N == 0 {
		return tlog.Tree{}, 0, false
	}
	if _, done := o.cosigs[mirror]; done && now.Sub(p.sent) < heartbeat && !now.Before(p.sent) {
		return tlog.Tree{}, 0, false
	}
	return o.target, min(p.have, o.target.N), true
}

// Stands tells that a mirror answered without a cosignature and holds have entries. It returns ErrNoProgress if that is
// no step ahead; stating once where it stands counts as one.
func (o *Owner) Stands(mirror string, have uint64) error {
	p, known := o.mirrors[mirror]
	if !known {
		return fmt.Errorf("%w: not a mirror", ErrNoProgress)
	}
	before, asked := p.have, p.asked
	p.have, p.asked = int64(min(have, uint64(o.latest.N))), true
	if p.have > before || p.have < before && !asked {
		return nil
	}
	return fmt.Errorf("%w: holds %d entries", ErrNoProgress, p.have)
}

// Cosigned tells that a mirror cosigned the tree of a size, received now. It reports whether that changed the final head:
// a new tree, or a newer time on the present one.
func (o *Owner) Cosigned(size int64, c note.Cosignature, now time.Time) (changed bool) {
	p, known := o.mirrors[c.Mirror]
	if !known {
		return false
	}
	p.have, p.asked = max(p.have, size), false
	if size == o.target.N {
		p.sent = now
		newer := Keep(o.cosigs, c, now.Add(o.ahead))
		if size == o.final.N {
			return newer
		}
		if len(o.cosigs) < o.quorum {
			return false
		}
		o.final, o.kept = o.target, o.cosigs
		o.advance()
		return true
	}
	return size == o.final.N && size > 0 && Keep(o.kept, c, now.Add(o.ahead))
}

// Keep puts a cosignature in the place of its mirror's older one, or of one from after limit, and reports whether it did.
func Keep(m map[string]note.Cosignature, c note.Cosignature, limit time.Time) bool {
	if old, ok := m[c.Mirror]; ok && !c.Time.After(old.Time) && (!old.Time.After(limit) || c.Time.After(limit)) {
		return false
	}
	m[c.Mirror] = c
	return true
}

// Newest returns the quorum of cosignatures of the final tree with the newest times that are not ahead of now.
func (o *Owner) Newest(now time.Time) []note.Cosignature {
	return Newest(o.kept, o.quorum, now.Add(o.ahead))
}

// Newest returns the n cosignatures with the newest times; of equal times, those of the mirrors first by name. Times after
// limit come last: nobody whose clock is right takes a head with them.
func Newest(m map[string]note.Cosignature, n int, limit time.Time) []note.Cosignature {
	out := slices.Collect(maps.Values(m))
	slices.SortFunc(out, func(a, b note.Cosignature) int {
		if late := a.Time.After(limit); late != b.Time.After(limit) {
			if late {
				return 1
			}
			return -1
		}
		return cmp.Or(b.Time.Compare(a.Time), strings.Compare(a.Mirror, b.Mirror))
	})
	return out[:min(n, len(out))]
}
