package dataset

// Bounds of what an import reads and of what the files may claim.
const (
	// MaxRows is the most rows of a source file: five times the million that a gateway is built for, and still within 4 GiB.
	MaxRows = 5_000_000
	// MaxRecordBytes bounds one row of a source file, quoted line breaks included.
	MaxRecordBytes = 1 << 20
	// MaxSourceColumns bounds the columns of a source file.
	MaxSourceColumns = 1024
	// MaxProblems is how many problems a report keeps; all are counted.
	MaxProblems = 100
	// KeepEpochs is how many activated epochs of a dataset stay by default.
	KeepEpochs = 10

	// MaxKeepEpochs is the most that can be kept; a daily epoch of two years and a half.
	MaxKeepEpochs = 1000

	maxOpenEpochs = 16      // old epochs of a dataset whose files are open: each has three
	maxHeaderName = 256     // bytes of a source column's name
	maxManifest   = 1 << 20 // bytes; the schema in it is at most 64 KiB
	maxEpochsFile = 1 << 20 // bytes; an epoch takes about 130
	maxDatasets   = 256     // as in ledger/entry: one receipts batch names them all
)
