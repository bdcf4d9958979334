package field

import (
	"flag"
	"time"
)

var (
	seed    = flag.Uint64("field.seed", 1, "seed of the weather, and of whom to kill when")
	killFor = flag.Duration("field.kill", 20*time.Second, "how long processes are killed")
	cutFor  = flag.Duration("field.cut", 6*time.Second, "how long each partition lasts at least; connections are given up after 30s")
)
