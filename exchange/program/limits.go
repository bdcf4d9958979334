package program

import (
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/ledger/entry"
)

// Bounds on what people and files hand us.
const (
	MaxDocument    = entry.MaxSource // bytes of a program: it stands on the ledger whole
	MaxChecks      = 12              // checks of a program: 3^12 combinations of verdicts are looked through in under a second
	MaxRule        = 4096            // characters of a rule
	MaxApplication = 256             // bytes of an application's id
	MaxReason      = 1024            // bytes of a reason that a person gives
	MaxOfficer     = 256             // bytes of an officer's reference
	MaxRounds      = 16              // decisions of one case: the first one and those that contests led to
	// MaxDecision bounds a decision document: a bundle for each check, and two entries with their paths.
	MaxDecision = MaxChecks*bundle.MaxBundle + 1<<20

	maxNodes = 512 // of a rule's tree
	maxDepth = 32

	defaultTimeout = 5 * time.Minute
	maxNotice      = 366 * 24 * time.Hour
)
