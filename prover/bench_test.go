package prover

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/grille-gateway/grille/circuits"
)

func BenchmarkProve(b *testing.B) {
	q := newQuery(b, 1, person(-9000, 1500, 1, "west"), typicalProgram())
	k := testKeys()
	before := processorTime(b)
	for b.Loop() {
		if _, err := k.Prove(q.pub, q.sec); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((processorTime(b)-before).Milliseconds())/float64(b.N), "cpu-ms/op")
}

// processorTime is what all cores together have spent on this process.
func processorTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPool reports the time per proof when several are wanted at once.
func BenchmarkPool(b *testing.B) {
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			q := newQuery(b, 1, person(-9000, 1500, 1, "west"), typicalProgram())
			p := NewPool(testKeys(), workers, 1000)
			defer p.Close()
			var clients sync.WaitGroup
			b.ResetTimer()
			for range b.N {
				clients.Go(func() {
					if _, err := p.Prove(context.Background(), q.pub, q.sec); err != nil {
						b.Error(err)
					}
				})
			}
			clients.Wait()
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	k := testKeys()
	for _, c := range []struct {
		name    string
		program *circuits.Program
	}{{"typical", typicalProgram()}, {"largest", largestProgram(1)}} {
		q := newQuery(b, 1, person(-9000, 1500, 1, "west"), c.program)
		proof, err := k.Prove(q.pub, q.sec)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.name+"/cached", func(b *testing.B) { benchmarkVerify(b, k.verifier, q, proof[:], false) })
		b.Run(c.name+"/uncached", func(b *testing.B) { benchmarkVerify(b, k.verifier, q, proof[:], true) })
	}
}

func benchmarkVerify(b *testing.B, v *Verifier, q query, proof []byte, forget bool) {
	for b.Loop() {
		if forget {
			v.programs = newSumCache(cachedPrograms)
		}
		if err := v.Verify(q.pub, proof); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewVerifier(b *testing.B) {
	vk := testKeys().VerifyingKey()
	for b.Loop() {
		if _, err := NewVerifier(vk); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoad is the second start: compile, and read cached keys.
func BenchmarkLoad(b *testing.B) {
	want := testKeys().VerifyingKey()
	for b.Loop() {
		k, err := Load(context.Background(), testDir, nil)
		if err != nil {
			b.Fatal(err)
		}
		if !bytes.Equal(k.encoded, want) {
			b.Fatal("other keys")
		}
	}
}

// BenchmarkSetup generates development keys.
func BenchmarkSetup(b *testing.B) {
	for b.Loop() {
		k, err := compile(nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := k.generate(); err != nil {
			b.Fatal(err)
		}
	}
}
