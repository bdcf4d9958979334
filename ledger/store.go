// Package ledger keeps the append-only logs of all members of one instance in one folder: it is a log's owner, a mirror of
// the others' logs, and the place to read what is final. It opens no sockets; what members tell one another are the plain
// values Push, PushReply, Head and Entries.
//
// An entry goes through these states:
//
//	Append: entries and tiles fsynced -> signer state fsynced -> checkpoint signed -> Append returns
//	Outgoing/AddCheckpoint, per mirror: entries and tiles fsynced there -> its signer state fsynced -> cosigned
//	Cosigned, with a quorum: final head fsynced -> WaitFinal returns, Final and Search show it
//	AddHead (AddEntries): the same head on the other members
//
// A process killed between any two steps loses nothing that was acknowledged: Open cuts each log to what a signer state or
// a final head vouches for, and an owner's checkpoint is signed again from its state, byte for byte the same.
//
// Folders below Options.Dir: lock, signer/ (state of the two keys), logs/<escaped origin>/ with checkpoint (newest final
// head) and tile/ in C2SP tlog-tiles layout, chain/ and succession/ (configurations in force, and on the way), evidence/, and
// index.db, which can be deleted at any time.
package ledger

import (
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/core"
	"github.com/grille-gateway/grille/ledger/index"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/signer"
	"github.com/grille-gateway/grille/ledger/tiles"
)

// Errors of a store, besides those of the packages below it that they wrap.
var (
	// ErrStopped says that a write could not be made durable earlier. Nothing is signed any more: stop the process.
	ErrStopped = errors.New("ledger stopped after a failed write")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("ledger is closed")
	// ErrOrigin says that no member of the configuration owns a log of that origin, or that it is the wrong one to ask for.
	ErrOrigin = errors.New("no such log")
	// ErrNotMirror says that this member does not cosign.
	ErrNotMirror = errors.New("this member is no mirror")
	// ErrRolledBack says that others hold a larger checkpoint of this member's own log than it remembers having signed: its
	// folder is an old copy. Nothing is signed any more. Take new keys and a new generation of the log.
	ErrRolledBack = errors.New("own log is behind what it has signed")
	// ErrFuture says that a cosignature's time is ahead of this clock by more than ClockAllowance.
	ErrFuture = errors.New("cosignature time is in the future")
	// ErrEntries says that entries from a peer do not hash to the head they were fetched for. Ask another peer.
	ErrEntries = errors.New("entries do not match the head")
	// ErrGap says that entries do not continue what is stored, or that none were wanted.
	ErrGap = errors.New("entries do not continue the log")
	// ErrInconsistent says that an owner signed two contradicting checkpoints.
	ErrInconsistent = core.ErrInconsistent
	// ErrStale says that a checkpoint is smaller than one already cosigned.
	ErrStale = core.ErrStale
	// ErrCorrupt says that a log's files are damaged.
	ErrCorrupt = tiles.ErrCorrupt
	// ErrRange says that an index or size lies beyond the log.
	ErrRange = tiles.ErrRange
	// ErrNoProgress says that a mirror's answer took nothing; wait before the next push to it.
	ErrNoProgress = core.ErrNoProgress
)

// Options says what to open.
type Options struct {
	Dir        string                 // folder of this store alone; created if missing
	Config     *network.Configuration // trusted; the version in force
	Chain      *network.Chain         // trusted, ends in the version in force; nil: Config alone
	Member     string                 // whose store it is, a name in Config
	LogKey     ed25519.PrivateKey     // belongs to the member's LogKey
	MirrorKey  ed25519.PrivateKey     // belongs to the member's MirrorKey; may be nil for a member that is no mirror
	WitnessKey ed25519.PrivateKey     // cosigns for strangers and counts to no quorum; nil: this member is no witness
	Now        func() time.Time       // nil: time.Now
	Logger     *slog.Logger           // nil: none

	index string // path of the index; empty: index.db in the folder. Tests keep it in memory.
}

// A Store is one member's ledger. All methods are safe for concurrent use.
type Store struct {
	cfg       *network.Configuration
	chain     *network.Chain
	member    string
	now       func() time.Time
	log       *slog.Logger
	quorum    int
	heartbeat time.Duration
	disk      *tiles.Disk
	lock      *signer.Lock
	replicas  map[string]*replica // by origin; fixed after Open
	order     []string            // origins in the order of the configuration
	index     *index.Index
	witness   map[string]*signer.Witness // by origin; fixed after Open

	own   *replica
	owner *signer.Owner
	group group // appends waiting for the next batch

	// sending is what the owner knows of its mirrors. Its lock is taken after a replica's write lock and before mu.
	sendMu  sync.Mutex
	sending *core.Owner
	notes   map[int64]note.Checkpoint // signed checkpoints from the final one on, by size

	// changeMu is held while the next configuration is dealt with; taken before any replica's lock.
	changeMu sync.Mutex
	ballot   *signer.Ballot // nil if this member is no mirror

	evidenceMu sync.Mutex // held while evidence is written; taken after a replica's write lock and before mu

	heard chan struct{} // closed once a quorum of mirrors was heard

	mu         sync.Mutex
	changed    chan struct{} // closed and replaced whenever something may be sent or read
	failure    error         // sticky
	told       map[string]bool
	started    bool // heard is closed
	clock      *core.Clock
	evidence   map[string]kept        // by ID
	halted     map[string]bool        // origins
	frozen     bool                   // this mirror cosigns nothing by this configuration any more
	limits     map[string]int64       // sizes beyond which logs are not cosigned, for this mirror voted for fences there
	ends       map[string][]tlog.Tree // by origin: where the proposals that are known would fence logs
	limited    bool                   // limits are those of what this mirror voted for
	limitedBy  string                 // its digest, once they are
	succession *network.Succession
}

// Open opens or creates a store. Only one process can have it open. It reads every entry once, checks the tiles against
// the signer states and final heads, and brings the index up to date.
func Open(o Options) (*Store, error) {
	disk, err := tiles.NewDisk(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening ledger: %w", err)
	}
	return openOn(disk, o)
}

func openOn(disk *tiles.Disk, o Options) (*Store, error) {
	if o.Chain != nil {
		o.Config = o.Chain.Newest()
	}
	me, err := checkOptions(o)
	if err != nil {
		return nil, fmt.Errorf("opening ledger: %w", err)
	}
	if o.Chain == nil {
		o.Chain = network.NewChain(o.Config)
	}
	s := &Store{
		cfg: o.Config, chain: o.Chain, member: o.Member, now: o.Now, log: o.Logger, disk: disk,
		quorum: o.Config.Quorum(), heartbeat: time.Duration(o.Config.HeartbeatSeconds) * time.Second,
		replicas: make(map[string]*replica), order: o.Config.Logs(),
		notes: make(map[int64]note.Checkpoint), changed: make(chan struct{}), heard: make(chan struct{}),
		told: make(map[string]bool), evidence: make(map[string]kept), halted: make(map[string]bool), limits: make(map[string]int64),
	}
	s.group.turn = make(chan struct{}, 1)
	s.clock = s.newClock()
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if s.lock, err = signer.Acquire(disk); err != nil {
		return nil, fmt.Errorf("opening ledger: %w", err)
	}
	if newer, err := disk.Exists(linkPath(disk, s.cfg.Version+1)); err != nil || newer {
		if newer {
			err = fmt.Errorf("%w: version %d; open with the chain kept in the folder", ErrSuperseded, s.cfg.Version+1)
		}
		return nil, fmt.Errorf("opening ledger: %w", errors.Join(err, s.release()))
	}
	if err := s.load(o, me); err != nil {
		return nil, fmt.Errorf("opening ledger: %w", errors.Join(err, s.release()))
	}
	return s, nil
}

// checkOptions sees to it that the keys are those that the configuration names.
func checkOptions(o Options) (network.Member, error) {
	if o.Config == nil {
		return network.Member{}, errors.New("no network configuration")
	}
	me, ok := o.Config.Member(o.Member)
	if !ok {
		return me, fmt.Errorf("member %q is not in the network configuration", o.Member)
	}
	if len(o.LogKey) != ed25519.PrivateKeySize {
		return me, fmt.Errorf("log key has %d bytes, not %d", len(o.LogKey), ed25519.PrivateKeySize)
	}
	if pub := o.LogKey.Public().(ed25519.PublicKey); network.LogVKey(me.Origin(), pub) != me.LogKey {
		return me, fmt.Errorf("log key of %s is not the one in the network configuration", me.Name)
	}
	if !me.Mirror {
		return me, nil
	}
	if len(o.MirrorKey) != ed25519.PrivateKeySize {
		return me, fmt.Errorf("mirror key has %d bytes, not %d", len(o.MirrorKey), ed25519.PrivateKeySize)
	}
	if network.MirrorVKey(me.MirrorName(), o.MirrorKey.Public().(ed25519.PublicKey)) != me.MirrorKey {
		return me, fmt.Errorf("mirror key of %s is not the one in the network configuration", me.Name)
	}
	return me, nil
}

// load reads all logs, then the index, then what the owner was sending.
func (s *Store) load(o Options, me network.Member) error {
	for _, origin := range s.order {
		r, err := s.loadReplica(o, me, origin)
		if err != nil {
			return fmt.Errorf("log %s: %w", origin, err)
		}
		s.replicas[origin] = r
		if r.owner == me.Name && r.fence.Origin == "" {
			s.own = r
		}
	}
	err := errors.Join(s.mirrorCreated(me), s.loadEvidence(), s.loadSuccession(o, me))
	if err != nil {
		return err
	}
	if s.index, err = index.Open(cmp.Or(o.index, s.disk.Path("index.db"))); err != nil {
		return err
	}
	if damage := s.index.Damage(); damage != nil {
		s.log.Warn("index is rebuilt from the logs", "error", damage)
	}
	for _, origin := range s.order {
		if err := s.reindex(s.replicas[origin]); err != nil {
			return err
		}
	}
	if err := s.loadSending(); err != nil {
		return err
	}
	if err := s.loadWitness(o); err != nil {
		return err
	}
	if s.quorumHeard() { // a network of one
		s.started = true
		close(s.heard)
	}
	return nil
}

// loadSending signs the newest checkpoint again, from the state, and sets out to bring it to a quorum. A head that is
// final by an earlier configuration is brought to a quorum of the present one.
func (s *Store) loadSending() error {
	tree := s.own.verified
	if tree.N > 0 {
		if err := s.signNote(tree); err != nil {
			return err
		}
		s.own.signed = s.notes[tree.N]
	}
	var kept []note.Cosignature
	var final tlog.Tree
	if s.own.version == s.cfg.Version {
		final = s.own.final
		for _, c := range s.own.cosigs {
			kept = append(kept, c)
		}
	}
	if final.N > 0 {
		c, err := note.Parse(s.own.head.Checkpoint)
		if err != nil {
			return err
		}
		s.notes[final.N] = c
	}
	var mirrors []string
	for _, m := range s.cfg.Mirrors() {
		mirrors = append(mirrors, m.Name)
	}
	s.sending = core.NewOwner(s.quorum, ClockAllowance, mirrors, tree, final, kept)
	return nil
}

// signNote signs a tree with the owner's key and keeps the note.
func (s *Store) signNote(tree tlog.Tree) error {
	data, err := s.owner.Sign(tree, s.own.files)
	if err != nil {
		return err
	}
	c, err := note.Parse(data)
	if err != nil {
		return err
	}
	s.notes[tree.N] = c
	return nil
}

func (s *Store) release() error {
	var err error
	if s.index != nil {
		err = s.index.Close()
	}
	return errors.Join(err, s.lock.Release())
}

// Close ends the use of the folder, once those who write there have finished. Calls that wait return ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	if errors.Is(s.failure, ErrClosed) {
		s.mu.Unlock()
		return nil
	}
	s.failure = errors.Join(ErrClosed, s.failure)
	s.mu.Unlock()
	s.wake()
	s.changeMu.Lock()
	defer s.changeMu.Unlock()
	for _, origin := range s.order { // let those who write finish
		s.replicas[origin].write.Lock()
		defer s.replicas[origin].write.Unlock()
	}
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	s.evidenceMu.Lock()
	defer s.evidenceMu.Unlock()
	return s.release()
}

// Failure returns why nothing is signed any more (ErrStopped, ErrRolledBack, ErrSuperseded or ErrClosed), or nil.
func (s *Store) Failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// stopping remembers an error after which no signature may be made, and returns it.
func (s *Store) stopping(err error) error {
	if err == nil || !errors.Is(err, tiles.ErrDurability) && !errors.Is(err, ErrRolledBack) && !errors.Is(err, ErrSuperseded) {
		return err
	}
	if errors.Is(err, tiles.ErrDurability) {
		err = fmt.Errorf("%w: %w", ErrStopped, err)
	}
	s.mu.Lock()
	if s.failure == nil {
		s.failure = err
	}
	s.mu.Unlock()
	s.wake()
	return err
}

// Changed returns a channel that is closed at the next change: something to send, a new final head, a failure. Take it
// before looking, look, then wait. Heartbeats fall due by the clock: look at least each second besides.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *Store) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// escape makes a folder name of an origin.
func escape(origin string) string { return url.PathEscape(origin) }
