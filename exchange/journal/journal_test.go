package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

func openAll(t *testing.T, path string) (*Journal, []string) {
	t.Helper()
	var got []string
	j, err := Open(path, func(f []byte) error { got = append(got, string(f)); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return j, got
}

func closeJournal(t *testing.T, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// written makes a journal with the given frames, one batch each, and returns its bytes and where each batch ends.
func written(t *testing.T, frames ...string) (data []byte, ends []int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "j")
	j, _ := openAll(t, path)
	ends = []int{fileHeaderSize}
	for _, f := range frames {
		if err := j.Append([]byte(f)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, int(info.Size()))
	}
	closeJournal(t, j)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data, ends
}

func openBytes(t *testing.T, data []byte) (path string, got []string, err error) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "j")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := Open(path, func(f []byte) error { got = append(got, string(f)); return nil })
	if err == nil {
		closeJournal(t, j)
	}
	return path, got, err
}

func TestReplaysInOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	var want []string
	for round := range 3 {
		j, got := openAll(t, path)
		if !slices.Equal(got, want) {
			t.Fatalf("round %d: replayed %d frames, want %d", round, len(got), len(want))
		}
		for i := range 20 {
			f := fmt.Sprintf("round %d frame %d", round, i)
			if err := j.Append([]byte(f)); err != nil {
				t.Fatal(err)
			}
			want = append(want, f)
		}
		closeJournal(t, j)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
}

func TestTruncatedAtEveryByte(t *testing.T) {
	frames := []string{"first", "second frame", "x", "the last one"}
	data, ends := written(t, frames...)
	for n := range len(data) + 1 {
		path, got, err := openBytes(t, data[:n])
		if n < fileHeaderSize {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("cut at %d inside the header: %v", n, err)
			}
			continue
		}
		whole := 0
		for whole+1 < len(ends) && ends[whole+1] <= n {
			whole++
		}
		if err != nil || !slices.Equal(got, frames[:whole]) {
			t.Fatalf("cut at %d: replayed %q, want %d frames, error %v", n, got, whole, err)
		}
		if info, _ := os.Stat(path); int(info.Size()) != ends[whole] {
			t.Fatalf("cut at %d: %d bytes left, want %d", n, info.Size(), ends[whole])
		}
		j, _ := openAll(t, path)
		if err := j.Append([]byte("after")); err != nil {
			t.Fatal(err)
		}
		closeJournal(t, j)
		j, got = openAll(t, path)
		closeJournal(t, j)
		if !slices.Equal(got, append(slices.Clone(frames[:whole]), "after")) {
			t.Fatalf("cut at %d: replayed %q after an append", n, got)
		}
	}
}

// Each bit of a file of three batches is flipped. Before the last batch that is damage, and nothing may be changed; in the
// last batch it cannot be told from a torn write.
func TestEveryBitFlipped(t *testing.T) {
	frames := []string{"one", "two", "three"}
	data, ends := written(t, frames...)
	last := ends[len(ends)-2]
	for bit := range len(data) * 8 {
		bad := bytes.Clone(data)
		bad[bit/8] ^= 1 << (bit % 8)
		path, got, err := openBytes(t, bad)
		if bit/8 >= last {
			if err != nil || !slices.Equal(got, frames[:2]) {
				t.Fatalf("bit %d of the last batch: %q, %v", bit, got, err)
			}
			continue
		}
		if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("bit %d at byte %d: %v", bit, bit/8, err)
		}
		if now, _ := os.ReadFile(path); !bytes.Equal(now, bad) {
			t.Fatalf("bit %d: the damaged file was changed", bit)
		}
	}
}

func TestTornTails(t *testing.T) {
	data, ends := written(t, "one", "two")
	huge := make([]byte, 100_000)
	rand.NewChaCha8([32]byte{1}).Read(huge)
	for name, tail := range map[string][]byte{
		"zeros":              make([]byte, 5000),
		"noise":              huge,
		"an earlier batch":   data[ends[0]:ends[1]],
		"a journal inside":   data,
		"one byte":           {7},
		"header of nothing":  {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0},
		"header, zero block": append(bytes.Clone(data[ends[0]:ends[0]+batchHeaderSize]), make([]byte, 4096)...),
	} {
		t.Run(name, func(t *testing.T) {
			_, got, err := openBytes(t, append(bytes.Clone(data), tail...))
			if err != nil || !slices.Equal(got, []string{"one", "two"}) {
				t.Fatalf("%q, %v", got, err)
			}
		})
	}
}

// A batch can be torn with its first blocks lost and its last ones written. Nothing in it was acknowledged, so it is cut off
// as a whole although frames in it are intact.
func TestTornBatchOfSeveralFrames(t *testing.T) {
	data, _ := written(t, "one")
	var id [idSize]byte
	copy(id[:], data[len(magic):])
	b := make([]byte, batchHeaderSize)
	for _, f := range []string{"aaaa", "bbbb", "cccc"} {
		b = append(b, 0, 0, 0, 4)
		b = append(b, f...)
	}
	putBatchHeader(b, id, int64(len(data)))
	if _, got, err := openBytes(t, append(bytes.Clone(data), b...)); err != nil || len(got) != 4 {
		t.Fatalf("whole batch: %q, %v", got, err)
	}
	for _, hole := range [][2]int{{0, 12}, {4, 8}, {12, 20}, {20, 28}, {30, 36}} {
		torn := bytes.Clone(b)
		clear(torn[hole[0]:hole[1]])
		if _, got, err := openBytes(t, append(bytes.Clone(data), torn...)); err != nil || !slices.Equal(got, []string{"one"}) {
			t.Fatalf("hole %v: %q, %v", hole, got, err)
		}
	}
}

func TestMisshapenBatches(t *testing.T) {
	data, _ := written(t, "one")
	var id [idSize]byte
	copy(id[:], data[len(magic):])
	for name, payload := range map[string][]byte{
		"no frame":        {},
		"empty frame":     {0, 0, 0, 0},
		"short prefix":    {0, 0, 0, 1, 9, 0},
		"frame too long":  {0, 0, 0, 9, 1},
		"length of 4 GiB": {0xff, 0xff, 0xff, 0xff, 1},
	} {
		b := append(make([]byte, batchHeaderSize), payload...)
		putBatchHeader(b, id, int64(len(data)))
		if _, _, err := openBytes(t, append(bytes.Clone(data), b...)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, _ := openAll(t, path)
	if _, err := Open(path, nil); !errors.Is(err, ErrLocked) {
		t.Fatalf("second open: %v", err)
	}
	closeJournal(t, j)
	j, _ = openAll(t, path)
	closeJournal(t, j)
	if err := j.Append([]byte("x")); !errors.Is(err, ErrClosed) {
		t.Fatalf("append after close: %v", err)
	}
	if err := j.Close(); !errors.Is(err, ErrClosed) {
		t.Fatalf("second close: %v", err)
	}
}

func TestFrameSizes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, _ := openAll(t, path)
	for _, n := range []int{0, MaxFrame + 1} {
		if err := j.Append(make([]byte, n)); !errors.Is(err, ErrFrameSize) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	largest := bytes.Repeat([]byte{5}, MaxFrame)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := j.Append(largest); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	closeJournal(t, j)
	j, got := openAll(t, path)
	closeJournal(t, j)
	if len(got) != 3 || got[2] != string(largest) {
		t.Fatalf("%d frames", len(got))
	}
}

func TestReplayErrorEndsOpen(t *testing.T) {
	data, _ := written(t, "one", "two")
	path := filepath.Join(t.TempDir(), "j")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	if _, err := Open(path, func([]byte) error { return refused }); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	j, got := openAll(t, path)
	closeJournal(t, j)
	if len(got) != 2 {
		t.Fatalf("%q", got)
	}
}

// slowFile counts fsyncs and can be made to fail.
type slowFile struct {
	file
	gate    chan struct{} // each fsync takes one
	syncs   atomic.Int32
	failing atomic.Bool
	short   atomic.Bool
}

var errDisk = errors.New("disk failed")

func (f *slowFile) Write(b []byte) (int, error) {
	if f.short.Load() {
		return f.file.Write(b[:len(b)/2])
	}
	return f.file.Write(b)
}

func (f *slowFile) Sync() error {
	if f.gate != nil {
		<-f.gate
	}
	f.syncs.Add(1)
	if f.failing.Load() {
		return errDisk
	}
	return f.file.Sync()
}

func openSlow(t *testing.T, path string, gate chan struct{}) (*Journal, *slowFile) {
	t.Helper()
	j, err := open(path, func([]byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	slow := &slowFile{file: j.f, gate: gate}
	j.f = slow
	go j.run()
	return j, slow
}

func TestConcurrentAppendsShareFsyncs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	gate := make(chan struct{})
	j, slow := openSlow(t, path, gate)
	const n = 200
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := j.Append(fmt.Appendf(nil, "frame %d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	for len(j.requests) < n/2 { // the first batch hangs in its fsync meanwhile
		select {
		case gate <- struct{}{}:
		default:
		}
	}
	close(gate)
	wg.Wait()
	closeJournal(t, j)
	if got := slow.syncs.Load(); got > n/2 {
		t.Errorf("%d fsyncs for %d appends", got, n)
	}
	j, got := openAll(t, path)
	closeJournal(t, j)
	slices.Sort(got)
	if len(slices.Compact(got)) != n {
		t.Errorf("%d different frames", len(got))
	}
}

func TestFailureSticks(t *testing.T) {
	for name, fail := range map[string]func(*slowFile, bool){
		"fsync":       func(f *slowFile, on bool) { f.failing.Store(on) },
		"short write": func(f *slowFile, on bool) { f.short.Store(on) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "j")
			j, slow := openSlow(t, path, nil)
			if err := j.Append([]byte("good")); err != nil {
				t.Fatal(err)
			}
			fail(slow, true)
			if err := j.Append([]byte("lost")); !errors.Is(err, ErrFailed) {
				t.Fatal(err)
			}
			fail(slow, false)
			syncs := slow.syncs.Load()
			if err := j.Append([]byte("later")); !errors.Is(err, ErrFailed) || slow.syncs.Load() != syncs {
				t.Fatalf("%v, %d fsyncs", err, slow.syncs.Load()-syncs)
			}
			if err := j.Close(); !errors.Is(err, ErrFailed) {
				t.Fatal(err)
			}
			j, got := openAll(t, path)
			closeJournal(t, j)
			if got[0] != "good" || slices.Contains(got, "later") {
				t.Fatalf("%q", got)
			}
		})
	}
}

// TestScanSeesWhatIsAcknowledged reads the frames back while others are appended: each that was acknowledged before, in order and whole.
func TestScanSeesWhatIsAcknowledged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, _ := openAll(t, path)
	stop, done := make(chan struct{}), make(chan error, 1)
	if err := j.Append([]byte("frame 0")); err != nil { // however late the goroutine starts, there is something to scan
		t.Fatal(err)
	}
	var acknowledged atomic.Int64
	acknowledged.Store(1)
	go func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := j.Append(fmt.Appendf(nil, "frame %d", i)); err != nil {
				done <- err
				return
			}
			acknowledged.Store(int64(i + 1))
		}
	}()
	for range 20 {
		want, got := acknowledged.Load(), int64(0)
		if err := j.Scan(func(f []byte) error {
			if string(f) != fmt.Sprintf("frame %d", got) {
				t.Errorf("frame %d reads %q", got, f)
			}
			got++
			return nil
		}); err != nil || got < want {
			t.Fatalf("%d frames of %d: %v", got, want, err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	if err := j.Scan(func([]byte) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xff}, int64(fileHeaderSize+batchHeaderSize)); err != nil { // damaged behind the journal's back
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), j.Scan(func([]byte) error { return nil })); !errors.Is(err, ErrCorrupt) {
		t.Errorf("%v", err)
	}
	closeJournal(t, j)
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add([]byte("some bytes"), uint16(40))
	f.Add(make([]byte, 64), uint16(70))
	f.Fuzz(func(t *testing.T, noise []byte, at uint16) {
		data, _ := written(t, "one", "two", "three")
		k := min(int(at), len(data))
		bad := append(bytes.Clone(data[:k]), noise...)
		_, got, err := openBytes(t, bad)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		for i, g := range got {
			if i < 3 && g != []string{"one", "two", "three"}[i] {
				t.Fatalf("frame %d reads %q", i, g)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, workers := range []int{1, 16} {
		b.Run(fmt.Sprintf("callers=%d", workers), func(b *testing.B) {
			j, err := Open(filepath.Join(b.TempDir(), "j"), nil)
			if err != nil {
				b.Fatal(err)
			}
			frame := make([]byte, 4096)
			b.ResetTimer()
			var wg sync.WaitGroup
			for w := range workers {
				wg.Go(func() {
					for i := w; i < b.N; i += workers {
						if err := j.Append(frame); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			if err := j.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}
