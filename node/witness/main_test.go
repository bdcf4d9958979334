package witness

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// buntdb's manager wakes once a second, and only then sees that its database was closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/tidwall/buntdb.(*DB).backgroundManager"))
}
