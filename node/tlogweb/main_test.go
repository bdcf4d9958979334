package tlogweb

import (
	"io"
	"testing"

	"go.uber.org/goleak"
	"k8s.io/klog/v2"
)

func TestMain(m *testing.M) {
	klog.LogToStderr(false) // tessera tells of each step
	klog.SetOutput(io.Discard)
	// buntdb's manager wakes once a second, and only then sees that its database was closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/tidwall/buntdb.(*DB).backgroundManager"),
		// tessera's workers wait for ever after a failed check
		goleak.IgnoreAnyFunction("github.com/transparency-dev/tessera/fsck.(*fsckTree).resourceCheckWorker.func1"))
}
