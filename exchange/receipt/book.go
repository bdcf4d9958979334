package receipt

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/grille-gateway/grille/exchange/journal"
)

// A Journal keeps frames: Append returns once the frame is on disk for good.
type Journal interface {
	Append(frame []byte) error
	// Scan calls use with each frame that is on disk, in order.
	Scan(use func(frame []byte) error) error
}

// A Sealer encrypts what the journal keeps. Frames hold subject ids and nonces; the disk never sees them open.
type Sealer interface {
	Seal(purpose string, ad, plaintext []byte) ([]byte, error)
	Open(purpose string, ad, ciphertext []byte) ([]byte, error)
}

// Options says what a Book works with.
type Options struct {
	Member string        // whose book it is
	Beat   time.Duration // the instance's beat length, whole seconds
	Secret Hash          // seeds the pseudorandom empty siblings; kept for the life of the book
	Seal   Sealer
	Now    func() time.Time
	Logger *slog.Logger
	// Publish appends the batch of one beat to the gateway's log, durably. It is called with rising beats.
	Publish func(ctx context.Context, beat uint64, root Hash) error
	// LastPublished is the newest beat on the gateway's own log, final or not; ok is false before the first.
	LastPublished func() (beat uint64, ok bool)
}

// A Book is a gateway's journal of record. One frame is one atomic fact: a receipt together with everything the gateway has to
// remember about that answer (its bytes, its charge), so that no crash can keep the one and lose the other.
//
// Write order of an answer: frame on disk, then the answer leaves, then the batch at the end of the beat. A crash between the
// first two leaves a receipt for an answer that nobody got; asking again returns it from the store.
type Book struct {
	opts    Options
	journal Journal

	closing   sync.Mutex   // one run over the beats that are due at a time: a beat is logged once
	recording sync.RWMutex // held for reading while a receipt is under way, for writing while a beat closes
	mu        sync.Mutex   // guards what follows
	beats     map[uint64]map[uint32]Hash
	closed    uint64 // no receipt may join this beat or an earlier one
	first     uint64 // the beat in which this process began
	trees     []closedBeat
	failed    error // why it is not known what the journal holds
}

// closedBeat is a beat on the log with its tree: nothing joins it any more. The newest keptTrees are at hand, since that is when paths
// are asked for, and a tree costs as much as the beat was busy.
type closedBeat struct {
	beat uint64
	tree *Tree
}

const keptTrees = 4

// maxCatchUp bounds the idle beats that are logged at once after the process or its clock stood still. Whoever sees the gap knows
// already that nobody was answered in it.
const maxCatchUp = 1024

type frame struct {
	Kind    string          `json:"kind"`
	Beat    uint64          `json:"beat,omitempty"`
	Place   uint32          `json:"place,omitempty"`
	Receipt *Hash           `json:"receipt,omitempty"`
	Payload json.RawMessage `json:"payload"`
}

const framePurpose = "book"

// ErrJournal reports a journal frame that cannot be opened: the wrong vault key or a damaged disk.
var ErrJournal = errors.New("journal frame unreadable")

// New makes a book without a journal; Replay its frames in order, then Attach the journal, then Record.
func New(opts Options) *Book {
	b := &Book{opts: opts, beats: map[uint64]map[uint32]Hash{}}
	b.first = BeatAt(opts.Now(), opts.Beat)
	if last, ok := opts.LastPublished(); ok {
		b.closed = last
	}
	return b
}

// Replay takes back one frame that Record or Keep wrote and hands its kind and payload to use.
func (b *Book) Replay(sealed []byte, use func(kind string, payload []byte) error) error {
	f, err := b.unseal(sealed)
	if err != nil {
		return err
	}
	if f.Receipt != nil {
		b.put(f.Beat, f.Place, *f.Receipt)
	}
	return use(f.Kind, f.Payload)
}

func (b *Book) unseal(sealed []byte) (*frame, error) {
	plain, err := b.opts.Seal.Open(framePurpose, []byte(b.opts.Member), sealed)
	if err != nil {
		return nil, fmt.Errorf("replaying the journal: %w: %w", ErrJournal, err)
	}
	var f frame
	if err := json.Unmarshal(plain, &f); err != nil {
		return nil, fmt.Errorf("replaying the journal: %w: not a frame", ErrJournal)
	}
	return &f, nil
}

// Scan hands the kind and payload of every frame in the journal to use, in order: what is too much to keep in memory and seldom asked
// for is read again. The payload is valid during the call only.
func (b *Book) Scan(use func(kind string, payload []byte) error) error {
	return b.journal.Scan(func(sealed []byte) error {
		f, err := b.unseal(sealed)
		if err != nil {
			return err
		}
		return use(f.Kind, f.Payload)
	})
}

// Attach gives the book the journal it appends to from now on.
func (b *Book) Attach(j Journal) { b.journal = j }

// A Draft is a receipt about to be written.
type Draft struct {
	Kind    string // who replays the payload
	Query   Hash
	Outcome string
	Answer  Hash
	// Payload makes what is kept beside the receipt, from the promise and its salt.
	Payload func(p Promise, salt Hash) (any, error)
}

// Record writes one receipt and its payload as one frame and returns when it is on disk.
func (b *Book) Record(d Draft) (Promise, Hash, error) {
	b.recording.RLock()
	defer b.recording.RUnlock()
	salt, err := NewSalt()
	if err != nil {
		return Promise{}, salt, err
	}
	p := Promise{Version: 1, Member: b.opts.Member, Query: d.Query, Receipt: Digest(salt, d.Query, d.Outcome, d.Answer)}
	if p.Beat, p.Place, err = b.reserve(p.Receipt); err != nil {
		return Promise{}, salt, err
	}
	p.Deadline = Deadline(p.Beat, b.opts.Beat).Format(time.RFC3339)
	payload, err := d.Payload(p, salt)
	if err == nil {
		err = b.append(frame{Kind: d.Kind, Beat: p.Beat, Place: p.Place, Receipt: &p.Receipt}, payload)
	}
	if err != nil {
		b.release(p.Beat, p.Place)
		return Promise{}, salt, fmt.Errorf("writing a receipt: %w", err)
	}
	return p, salt, nil
}

// Keep writes a payload without a receipt as one frame and returns when it is on disk.
func (b *Book) Keep(kind string, payload any) error {
	if err := b.append(frame{Kind: kind}, payload); err != nil {
		return fmt.Errorf("keeping a fact: %w", err)
	}
	return nil
}

func (b *Book) append(f frame, payload any) error {
	var err error
	if f.Payload, err = json.Marshal(payload); err != nil {
		return err
	}
	plain, err := json.Marshal(f)
	if err != nil {
		return err
	}
	sealed, err := b.opts.Seal.Seal(framePurpose, []byte(b.opts.Member), plain)
	if err != nil {
		return err
	}
	if err = b.journal.Append(sealed); err != nil && !errors.Is(err, journal.ErrFrameSize) {
		b.mu.Lock()
		b.failed = fmt.Errorf("the journal may or may not hold a receipt, restart the gateway to find out: %w", err)
		b.mu.Unlock()
	}
	return err
}

// reserve draws a free random place in the open beat.
func (b *Book) reserve(receipt Hash) (beat uint64, place uint32, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	beat = max(BeatAt(b.opts.Now(), b.opts.Beat), b.closed+1)
	for {
		var r [4]byte
		if _, err := rand.Read(r[:]); err != nil {
			return 0, 0, fmt.Errorf("drawing a place: %w", err)
		}
		place = binary.BigEndian.Uint32(r[:])
		if _, taken := b.beats[beat][place]; !taken {
			break
		}
	}
	b.putLocked(beat, place, receipt)
	return beat, place, nil
}

func (b *Book) release(beat uint64, place uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.beats[beat], place)
}

func (b *Book) put(beat uint64, place uint32, receipt Hash) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.putLocked(beat, place, receipt)
}

func (b *Book) putLocked(beat uint64, place uint32, receipt Hash) {
	if b.beats[beat] == nil {
		b.beats[beat] = map[uint32]Hash{}
	}
	b.beats[beat][place] = receipt
}

// Run logs one batch at each beat until ctx ends. A publish that fails is tried again with the same root. A journal that fails ends it
// with an error: the process has to stop.
func (b *Book) Run(ctx context.Context) error {
	for {
		err := b.CloseBeats(ctx)
		if failed := b.failure(); failed != nil {
			return fmt.Errorf("logging receipts: %w", failed)
		}
		if err != nil && ctx.Err() == nil {
			b.opts.Logger.Warn("receipts batch not logged yet", slog.Any("error", err))
		}
		now := b.opts.Now()
		next := BeatStart(BeatAt(now, b.opts.Beat)+1, b.opts.Beat)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(min(next.Sub(now), b.opts.Beat/4)):
		}
	}
}

func (b *Book) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failed
}

// CloseBeats logs the batch of every beat that is over and not on the log yet.
func (b *Book) CloseBeats(ctx context.Context) error {
	b.closing.Lock()
	defer b.closing.Unlock()
	for _, beat := range b.due() {
		tree, err := b.shut(beat)
		if err != nil {
			return err
		}
		if err := b.opts.Publish(ctx, beat, tree.Root()); err != nil {
			return fmt.Errorf("logging the batch of a beat: %w", err)
		}
	}
	return nil
}

// due lists, rising, the finished beats that are not on the log. Beats that went by while the gateway was down stay away,
// except the two after its last batch, the only ones that can hold a promise; those are logged busy or not, so that a batch
// logged late does not tell that it was busy.
func (b *Book) due() []uint64 {
	current := BeatAt(b.opts.Now(), b.opts.Beat)
	last, ok := b.opts.LastPublished()
	b.mu.Lock()
	defer b.mu.Unlock()
	beats := map[uint64]bool{}
	want := func(beat uint64) {
		if beat < current && (!ok || beat > last) {
			beats[beat] = true
		}
	}
	if ok {
		want(last + 1)
		want(last + 2)
	}
	for beat := max(b.first, last+1, current-min(current, maxCatchUp)); beat < current; beat++ {
		want(beat)
	}
	for beat, receipts := range b.beats {
		if len(receipts) > 0 {
			want(beat)
		}
	}
	list := make([]uint64, 0, len(beats))
	for beat := range beats {
		list = append(list, beat)
	}
	slices.Sort(list)
	return list
}

// shut waits for receipts under way, bars the beat for new ones and builds its tree.
func (b *Book) shut(beat uint64) (*Tree, error) {
	b.recording.Lock()
	defer b.recording.Unlock()
	b.mu.Lock()
	b.closed = max(b.closed, beat)
	failed := b.failed
	b.mu.Unlock()
	if failed != nil { // a root with or without a receipt in doubt would break the promises beside it
		return nil, failed
	}
	return b.tree(beat)
}

func (b *Book) tree(beat uint64) (*Tree, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	leaves := make([]Leaf, 0, len(b.beats[beat]))
	for place, r := range b.beats[beat] {
		leaves = append(leaves, Leaf{Place: place, Receipt: r})
	}
	return NewTree(b.seed(beat), leaves)
}

func (b *Book) seed(beat uint64) Hash {
	m := hmac.New(sha256.New, b.opts.Secret[:])
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], beat)
	m.Write(n[:])
	var h Hash
	m.Sum(h[:0])
	return h
}

// Promised lists, rising, the beats after a given one that hold receipts.
func (b *Book) Promised(after uint64) []uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	var beats []uint64
	for beat, receipts := range b.beats {
		if beat > after && len(receipts) > 0 {
			beats = append(beats, beat)
		}
	}
	slices.Sort(beats)
	return beats
}

// ErrOpenBeat reports a path asked for before its batch is on the log; ask again after the beat.
var ErrOpenBeat = errors.New("the beat is not on the log yet")

// Prove returns the path of the receipt at place in the batch of beat, and that batch's root.
func (b *Book) Prove(beat uint64, place uint32) (Proof, Hash, error) {
	if last, ok := b.opts.LastPublished(); !ok || beat > last {
		return Proof{}, Hash{}, fmt.Errorf("proving a receipt: %w", ErrOpenBeat)
	}
	tree, err := b.closedTree(beat)
	if err != nil {
		return Proof{}, Hash{}, err
	}
	path, err := tree.Path(place)
	if err != nil {
		return Proof{}, Hash{}, err
	}
	return Proof{Path: path}, tree.Root(), nil
}

// closedTree is the tree of a beat that is on the log.
func (b *Book) closedTree(beat uint64) (*Tree, error) {
	b.mu.Lock()
	for _, c := range b.trees {
		if c.beat == beat {
			b.mu.Unlock()
			return c.tree, nil
		}
	}
	b.mu.Unlock()
	tree, err := b.tree(beat)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trees = append(b.trees, closedBeat{beat, tree})
	b.trees = slices.Clone(b.trees[max(0, len(b.trees)-keptTrees):])
	return tree, nil
}
