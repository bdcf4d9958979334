package entry

// Bounds of an entry and of the JSON that peers and disks hand us.
const (
	// MaxSize is the largest entry in bytes: a C2SP entry bundle holds a 16-bit length before each entry.
	MaxSize = 65535
	// MaxDepth is how deep JSON may nest. The deepest document of ours, a policy template, has 7 levels; the rest is room.
	MaxDepth = 32
	// MaxName bounds names of datasets, policies and schemes, so that they fit a table cell and an index key.
	MaxName = 64
	// MaxTitle bounds what a person reads in one line.
	MaxTitle = 256
	// MaxText bounds free text: a question, a purpose, a reason, a legal basis.
	MaxText = 4096
	// MaxSource bounds the text of a policy; its compiled template and all the rest must fit the entry beside it.
	MaxSource = 16384
	// MaxColumns is the number of columns of a record in the circuit (12 numeric and 4 text).
	MaxColumns = 16
	// MaxCodes bounds an enumeration: more codes than lookup tables can name (4 x 16) still serve equality tests.
	MaxCodes = 256
	// Claims is how many nullifiers a claims.batch holds, padding included: 4.4 KB an entry.
	Claims = 64
	// MaxApprovals bounds the approvals of an entry and the approvers of a member.
	MaxApprovals = 8
	// MaxGroup bounds the members of a group.
	MaxGroup = 256
	// MaxDatasets bounds the epochs that one receipts batch names.
	MaxDatasets = 256
	// maxInteger is the largest integer that every JSON reader keeps exactly (RFC 7493 section 2.2).
	maxInteger = 1<<53 - 1
)
