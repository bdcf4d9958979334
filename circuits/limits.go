package circuits

// Sizes of a record. Columns 0..11 are numeric, 12..15 are text.
const (
	NumericColumns = 12
	TextColumns    = 4
	Columns        = NumericColumns + TextColumns
)

// Sizes of an epoch's tree: a place is Levels base-3 digits and holds a bucket of Slots entries. Twenty-one levels put a
// fourth entry into some bucket with probability about 2e-5 at five million subjects.
const (
	Levels = 21
	Slots  = 3
	Places = 10460353203 // 3^Levels
)

// Sizes of a program. Each unit is paid for by every proof, used or not, so they are as small as published eligibility
// rules allow.
const (
	Lookups     = 4
	LookupPairs = 16
	Atoms       = 12
	TextTests   = 4
	Gates       = 8
)

// Bit widths that the circuit decomposes into and the native side checks against.
const (
	keyBits      = 128 // a subject key
	quotientBits = 95  // key div Places: 2^128 / 3^21 < 2^94.72
	numericBits  = 64  // an offset-binary column
	atomBits     = 100 // s + 2^99 of an atom's sum s, |s| <= 16 * 2^31 * 2^63 + 2^63 < 2^99
	gateBits     = 11  // s + 2^10 of a gate's sum minus its threshold, |s| < 512 + 512
)

// earlierWeights is how many pairs of a gate and an earlier one there are.
const earlierWeights = Gates * (Gates - 1) / 2

// gateWeightLimit bounds a gate: the absolute weights sum below it and the absolute threshold does not exceed it.
const gateWeightLimit = 512
