package audit

import (
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// Bounds of what an audit reads at once, keeps and reports.
const (
	height = torchwood.TileHeight
	width  = torchwood.TileWidth
	// maxBundle is the largest entry bundle in bytes: 256 entries of 65,535, each after two length bytes.
	maxBundle = width * (2 + 65535)
	// maxTile is a full hash tile in bytes.
	maxTile = width * tlog.HashSize
	// maxProblems bounds what is listed of one log; what is beyond is counted. A log that is wrong from one end to the other
	// is not understood better by a longer list.
	maxProblems = 1000
	// maxSuspects bounds the hash tiles remembered as different until the roots tell which side is wrong.
	maxSuspects = 100
	// maxEvidence bounds the evidence files read: one suffices to show a fork.
	maxEvidence = 1000
	// sample is how many entries of each log are proved one by one besides the recomputed root: what a reader of the tiles
	// does. First and last are among them.
	sample = 64
	// allowance is how far clocks may differ, as everywhere in an instance.
	allowance = 5 * time.Second
)
