package evidence

import "github.com/grille-gateway/grille/ledger/note"

// Bounds of an evidence file.
const (
	// MaxSize bounds a file in bytes: two notes, and below 4 KiB for the first line, the root and MaxProof hashes of 45 bytes.
	MaxSize = 2*note.MaxSize + 4<<10
	// MaxProof bounds the hashes of a consistency proof: one for each of the 50 levels of a tree of note.MaxTreeSize, and one
	// (RFC 6962, section 2.1.2).
	MaxProof = 51
)
