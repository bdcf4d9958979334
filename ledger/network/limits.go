package network

// Bounds of a configuration and of a card.
const (
	// MaxSize bounds a configuration in bytes: 256 members at about 700 bytes each, and room.
	MaxSize = 512 << 10
	// MaxCardSize bounds a card in bytes: one member.
	MaxCardSize = 8 << 10
	// MaxMembers bounds the members of an instance.
	MaxMembers = 256
	// MaxMirrors keeps committees small enough that a final head stays a few kilobytes and verifies in milliseconds.
	MaxMirrors = 31
	// MinProductionMirrors is the fewest mirrors that survive one colluder and one failure (quorum 3 of 4).
	MinProductionMirrors = 4
	// MaxSchemes and MaxCircuits bound the lists; an instance has a handful of each.
	MaxSchemes  = 32
	MaxCircuits = 32
	// MaxPattern bounds the regular expression of an identifier scheme.
	MaxPattern = 256
	// MaxTitle bounds a member's display name.
	MaxTitle = 256
	// MaxSeconds bounds every interval: a day.
	MaxSeconds = 86400
)
