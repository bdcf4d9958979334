package ceremony

import "time"

// Bounds, each with its reason. Foreign bytes are measured before they are parsed.
const (
	MaxMembers    = 64                // committees stay at 31 or fewer; the rest are observers who want a contribution
	MaxSteps      = 4096              // 64 members, two phases, every one passed over thirty times
	MaxEvidence   = 1 << 20           // bytes of beacon evidence: 64 checkpoints with 31 cosignatures each have about 600 kB
	MaxTranscript = 10 << 20          // bytes: steps of about 1,000, twice the evidence in base64
	MaxTurn       = 30 * 24 * 60 * 60 // seconds: a month, for members that carry files to a machine without a network
	maxName       = 256               // bytes of a member's name, as GOV/tax
	maxOpening    = 1 << 16           // bytes: 64 members with names and keys have at most 25 kB
	maxStep       = MaxEvidence/3*4 + 1<<12
	maxDomain     = 1 << 20 // a payload of 300 MB; the statement's domain is 2^14
)

// timeFormat is that of all times in a transcript: whole seconds, UTC.
const timeFormat = "2006-01-02T15:04:05Z"

func formatTime(t time.Time) string { return t.UTC().Truncate(time.Second).Format(timeFormat) }

// isTime tells a time in its one spelling: time.Parse also takes fractions of a second, and hours of one digit.
func isTime(s string) bool {
	t, err := time.Parse(timeFormat, s)
	return err == nil && t.Format(timeFormat) == s
}
