package peer

import (
	"time"

	"golang.org/x/time/rate"
)

// ALPN is the application protocol of a connection. Another value ends the TLS handshake.
const ALPN = "grille/1"

// Kind says what a request asks for. It is the first byte of a stream.
type Kind uint8

// The kinds of request. Numbers are wire format: never reuse one. 3 and 5 were heads told and compared whole.
const (
	kindHello       Kind = 1  // who is calling, first stream of a connection; answered by this package
	KindPush        Kind = 2  // an owner's checkpoint and entries to a mirror; reply: a cosignature
	KindEntries     Kind = 4  // pull entries of one log; reply: entries
	KindQuery       Kind = 6  // a signed query to its holder; reply: an answer
	KindReceiptPath Kind = 7  // the path of a promised receipt under a logged beat
	KindBudget      Kind = 8  // the budget behind an offer's commitment, asked by its holder
	KindAnnounce    Kind = 9  // logs and their sizes, told to a neighbour
	KindPull        Kind = 10 // the final heads of some logs; reply: heads, with entries where they are few
	KindCompare     Kind = 11 // digests of all heads and of the network's state; reply: what differs, and the time
	KindStanding    Kind = 12 // what a mirror holds beyond its final heads, asked after a start
	KindEvidence    Kind = 13 // evidence of contradictions by id
	KindSuccession  Kind = 14 // what is known on the way to the next configuration
	KindChain       Kind = 15 // the link to the next configuration
	KindFresh       Kind = 16 // the newest cosigned head of the asked member's own log
	KindCeremony    Kind = 17 // how a key ceremony stands, and a signed contribution to it, told to its coordinator
	KindFetch       Kind = 18 // a part of a ceremony's transcript, or of what it names, by SHA-256
	KindOffer       Kind = 19 // a part of a contribution's bytes, told to the coordinator; reply: how many it holds
)

// Kinds lists the kinds that a Handler can get, in wire order.
func Kinds() []Kind {
	return []Kind{KindPush, KindEntries, KindQuery, KindReceiptPath, KindBudget, KindAnnounce, KindPull, KindCompare, KindStanding,
		KindEvidence, KindSuccession, KindChain, KindFresh, KindCeremony, KindFetch, KindOffer}
}

var kindNames = map[Kind]string{kindHello: "hello", KindPush: "push", KindEntries: "entries", KindQuery: "query",
	KindReceiptPath: "receipt_path", KindBudget: "budget", KindAnnounce: "announce", KindPull: "pull", KindCompare: "compare",
	KindStanding: "standing", KindEvidence: "evidence", KindSuccession: "succession", KindChain: "chain", KindFresh: "fresh",
	KindCeremony: "ceremony", KindFetch: "ceremony_fetch", KindOffer: "ceremony_offer"}

// String is the kind's stable name, used in logs and metrics.
func (k Kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return "unknown"
}

// crosses tells whether a kind is served between members that have different configurations of one instance: only what brings
// the one behind up to date.
func (k Kind) crosses() bool { return k == KindSuccession || k == KindChain }

// Bound limits one kind of request from one neighbour.
type Bound struct {
	Request    int           // bytes of a request's body, at most
	Reply      int           // bytes of a reply's body, at most
	Timeout    time.Duration // for a whole call: send, handle, reply
	Concurrent int           // requests of this kind served at once for one neighbour
	Rate       rate.Limit    // requests a second from one neighbour, sustained
	Burst      int           // requests at once before Rate applies
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

// DefaultBounds returns a new table of the limits per kind, each with its reason.
func DefaultBounds() map[Kind]Bound {
	return map[Kind]Bound{
		// A neighbour says hello once a connection. 4 KiB holds the longest instance and member names many times.
		kindHello: {Request: 4 * kib, Reply: 4 * kib, Timeout: 5 * time.Second, Concurrent: 1, Rate: 1, Burst: 1},
		// One push is in flight per mirror. Its body holds at most 1 MiB of entries and a checkpoint.
		KindPush: {Request: 2 * mib, Reply: 64 * kib, Timeout: 20 * time.Second, Concurrent: 2, Rate: 50, Burst: 100},
		// Pulling a log from its start is many requests in a row, so the rate is high and the concurrency low.
		KindEntries: {Request: 4 * kib, Reply: 2 * mib, Timeout: 20 * time.Second, Concurrent: 2, Rate: 50, Burst: 200},
		// A query may wait for a free prover. Its answer is a bundle of at most 1 MiB.
		KindQuery: {Request: 64 * kib, Reply: 2 * mib, Timeout: 90 * time.Second, Concurrent: 32, Rate: 50, Burst: 200},
		// A path is 32 siblings and an inclusion proof.
		KindReceiptPath: {Request: 64 * kib, Reply: 256 * kib, Timeout: 10 * time.Second, Concurrent: 8, Rate: 50, Burst: 200},
		// A budget is two numbers and a salt, asked for once an agreement.
		KindBudget: {Request: 4 * kib, Reply: 4 * kib, Timeout: 10 * time.Second, Concurrent: 4, Rate: 5, Burst: 20},
		// One announcement is in flight per neighbour; it has at most 14 bytes a log, of 4,096 logs. With one neighbour they
		// come every 50 ms at the fastest.
		KindAnnounce: {Request: 64 * kib, Reply: kib, Timeout: 5 * time.Second, Concurrent: 2, Rate: 50, Burst: 100},
		// One pull is in flight per neighbour. 32 heads have at most half a megabyte and their entries as much.
		KindPull: {Request: 4 * kib, Reply: 2 * mib, Timeout: 5 * time.Second, Concurrent: 2, Rate: 50, Burst: 100},
		// Comparisons are seconds apart. A reply has 14 bytes a log and 32 for each evidence.
		KindCompare: {Request: kib, Reply: 128 * kib, Timeout: 5 * time.Second, Concurrent: 2, Rate: 5, Burst: 20},
		// Asked once after a start, and again while there is no quorum. Few logs stand beyond their final heads.
		KindStanding: {Request: kib, Reply: 2 * mib, Timeout: 10 * time.Second, Concurrent: 1, Rate: 2, Burst: 10},
		// Evidence is two notes and a proof; eight of them go into a reply.
		KindEvidence: {Request: 4 * kib, Reply: 1 * mib, Timeout: 10 * time.Second, Concurrent: 1, Rate: 1, Burst: 10},
		// What is under way to a configuration holds the document, and of each mirror signatures and a tree a log: 20 KB for ten
		// members, at most network.MaxLinkSize.
		KindSuccession: {Request: kib, Reply: 24 * mib, Timeout: 20 * time.Second, Concurrent: 1, Rate: 1, Burst: 10},
		// One link a reply. A member that was away for many versions asks as often.
		KindChain: {Request: kib, Reply: 24 * mib, Timeout: 20 * time.Second, Concurrent: 1, Rate: 2, Burst: 20},
		// A head is under 8 KiB for a committee of 31.
		KindFresh: {Request: kib, Reply: 64 * kib, Timeout: 5 * time.Second, Concurrent: 4, Rate: 5, Burst: 20},
		// A member asks again when it has an answer, which waits up to 15 s for something to change. A reply lists the refusals of a
		// ceremony among at most 64 members; a request holds one signed step.
		KindCeremony: {Request: 16 * kib, Reply: 256 * kib, Timeout: 30 * time.Second, Concurrent: 4, Rate: 10, Burst: 40},
		// One part of at most 512 KiB after the other: a phase of 16,384 powers has 5 MB a contribution.
		KindFetch: {Request: kib, Reply: 512 * kib, Timeout: 20 * time.Second, Concurrent: 2, Rate: 50, Burst: 100},
		KindOffer: {Request: 513 * kib, Reply: kib, Timeout: 20 * time.Second, Concurrent: 1, Rate: 50, Burst: 100},
	}
}

const (
	// streamsPerPeer bounds the streams a neighbour may have open, over all kinds. It is above the sum of Concurrent, so
	// that excess is answered with a code instead of silence.
	streamsPerPeer = 96
	// receiveWindow bounds what a neighbour can make us buffer on a stream before we read it, and twice that on a
	// connection. quic-go's default is 15 MB a connection.
	receiveWindow = 1 * mib
	// firstWindow is what a connection begins with on a stream, and half as much again in all. A thousand connections can make us
	// buffer 192 MiB of it, and beyond it all together windowBudget.
	firstWindow  = 128 * kib
	windowBudget = 64 * mib
	// bodyBudget bounds the bodies of requests and replies that are held while they are read, handled and written, of all
	// neighbours together, and neighbourBudget those of one, so that it takes sixteen that collude to keep the others waiting. Beyond
	// them a request is answered with busy.
	bodyBudget      = 512 * mib
	neighbourBudget = 32 * mib
	// idleAfter is how long a connection that is not kept stays without a request.
	idleAfter = time.Minute
	// keepAlive holds middleboxes open and notices a dead neighbour within idleTimeout.
	keepAlive   = 10 * time.Second
	idleTimeout = 30 * time.Second
	// handshakeTimeout bounds a handshake and, again, the hello after it.
	handshakeTimeout = 5 * time.Second
	// pendingHellos bounds connections that are past TLS and not yet past the hello. A mirror that restarts is dialled by all.
	pendingHellos = 128
	// pendingHellosOfKey bounds those of one key: dialling and accepting may cross, and one more may be left over.
	pendingHellosOfKey = 3
	// retireGrace is how long a superseded link may finish what is in flight on it.
	retireGrace = 10 * time.Second
	// lingerRefused is how long a refused dialler has to read why.
	lingerRefused = 2 * time.Second
	// Redial starts fast, since restarts are the usual cause, and ends well under the freshness bound of 30 s.
	redialFirst = 200 * time.Millisecond
	redialMax   = 10 * time.Second
	// redialGap is the least time between two dials to one neighbour, however many callers wait for it.
	redialGap = 150 * time.Millisecond
	// unvalidatedPerSecond handshakes from unvalidated source addresses are served before QUIC's Retry is asked of them.
	unvalidatedPerSecond = 32
	// A remote error is a code and a short text.
	maxCode    = 64
	maxMessage = 1 * kib
)

// readTimeout bounds the arrival of a request and the departure of a refusal. A neighbour that hangs holds one stream and,
// for a known kind, one of its own slots for this long. A variable so that a test need not wait.
var readTimeout = 10 * time.Second
