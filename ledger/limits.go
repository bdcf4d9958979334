package ledger

import (
	"time"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/note"
)

// Bounds of what is stored at once and of what peers send.
const (
	// MaxEntry is the largest entry in bytes.
	MaxEntry = entry.MaxSize
	// MaxPushBytes bounds the entries of one push or one answer to a pull, each with its two length bytes: a transfer of
	// 0.1 s at 100 Mbit/s, and what a peer may make us hold in memory.
	MaxPushBytes = 1 << 20
	// MaxBatchBytes bounds what one Append stores in one durability round, so that mirrors take a batch in one push.
	MaxBatchBytes = MaxPushBytes
	// MaxMessage bounds an encoded Push, Head, PushReply or Entries: the entries, a note, an origin and lengths.
	MaxMessage = MaxPushBytes + note.MaxSize + 4<<10
	// MaxOrigin bounds an origin in bytes: an instance of 64, a member of 41, and "/log/9999".
	MaxOrigin = 128
	// MaxLine bounds a cosignature line in bytes: a name of 118 bytes and 104 of base64.
	MaxLine = 512
	// MaxFound bounds one page of a search.
	MaxFound = 1000
	// maxEvidence bounds the evidence files kept; one for each owner, and more only where mirrors are accused too.
	maxEvidence = 1024
	// maxTold bounds the checkpoints remembered of a log that others hold and that are not here: one of them may be where it is
	// to be fenced. Honest mirrors hold few.
	maxTold = 8
	// ClockAllowance is how far a peer's clock may be ahead of ours, and how far ours may step back while signing goes on.
	// With NTP clocks agree within a second; five are the instance's allowance.
	ClockAllowance = 5 * time.Second
)
