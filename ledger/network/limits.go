package network

// Bounds of a configuration and of a card.
const (
	// MaxSize bounds a configuration in bytes: MaxMembers at up to 1,250 bytes each (about 650 are usual), MaxFences at up
	// to 530, and room for schemes and circuits.
	MaxSize = 2 << 20
	// MaxCardSize bounds a card in bytes: one member.
	MaxCardSize = 8 << 10
	// MaxMembers bounds the members of an instance.
	MaxMembers = 1024
	// MaxFences bounds the logs that have ended: each stays in every later version, so that old entries can be verified.
	MaxFences = 1024
	// MaxGeneration bounds the generations of a log and of a mirror key: a new one each day lasts 27 years.
	MaxGeneration = 9999
	// MaxVersion bounds a configuration's version; a chain is bounded by its size.
	MaxVersion = 1 << 20
	// MaxCheckpoint bounds an owner-signed checkpoint in bytes: twice an origin of 118, a size, a root and a signature.
	MaxCheckpoint = 512
	// MaxLinkSize bounds a link, and what is gathered on the way to one: two proposals of MaxSize in base64 and, for each of
	// MaxMirrors, a handover of MaxMembers trees at up to 250 bytes, at which a quarter of them may differ between mirrors
	// and so take a checkpoint each. Ten members with four mirrors need about 20 KB.
	MaxLinkSize = 24 << 20
	// MaxChainSize bounds a chain: a thousand versions of a network of ten members, forty of the largest that is usual.
	MaxChainSize = 256 << 20
	// MaxTreeSize bounds a log: indexes stay exact in JSON (2^53) with room for the hash indexes, about twice the size.
	MaxTreeSize = 1 << 50
	// MaxMirrors keeps committees small enough that a final head stays a few kilobytes and verifies in milliseconds.
	MaxMirrors = 31
	// MinProductionMirrors is the fewest mirrors that survive one colluder and one failure (quorum 3 of 4).
	MinProductionMirrors = 4
	// MaxSchemes and MaxCircuits bound the lists; an instance has a handful of each.
	MaxSchemes  = 32
	MaxCircuits = 32
	// MinContributors and MinProductionContributors are the fewest members that must have contributed in each phase of a ceremony: the
	// keys are sound if one was honest, and in production nobody has to trust a single one.
	MinContributors           = 1
	MinProductionContributors = 2
	// MaxPattern bounds the regular expression of an identifier scheme.
	MaxPattern = 256
	// MaxApproverRules bounds how often a member may change who approves: some 500 bytes each, within a card.
	MaxApproverRules = 12
	// MaxApproverKeys bounds the keys in all rules of all members, 150 bytes each at most, so that a configuration keeps to MaxSize.
	MaxApproverKeys = 1024
	// MaxTitle bounds a member's display name.
	MaxTitle = 256
	// MaxSeconds bounds every interval: a day.
	MaxSeconds = 86400
)
