package dataset

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/grille-gateway/grille/exchange/schema"
)

// go test -run '^$' -bench . -benchtime 1x ./exchange/dataset
//
// An import includes reading the CSV, committing, hashing the tree and every fsync; a lookup includes opening the record and
// checking both the record's commitment and the path to the root.
func BenchmarkImport(b *testing.B) {
	for _, n := range []int{4_406, 100_000} {
		csv := table(patients(n))
		b.Run(fmt.Sprintf("rows=%d", n), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				s, m, _, _ := careStore(b)
				b.StartTimer()
				publish(b, s, m, csv)
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// One record in a hundred changes.
func BenchmarkUpdate(b *testing.B) {
	const n = 100_000
	list := patients(n)
	s, m, _, _ := careStore(b)
	publish(b, s, m, table(list))
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		for i := 0; i < n; i += 100 {
			list[i].visits++
		}
		csv := table(list)
		b.StartTimer()
		if _, r := publish(b, s, m, csv); r.Changed != n/100 {
			b.Fatalf("%+v", r)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	s, m, dir, v := careStore(b)
	publish(b, s, m, table(patients(100_000)))
	s.Close()
	b.ResetTimer()
	for range b.N {
		s, err := Open(dir, v)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		s.Close()
		b.StartTimer()
	}
}

func BenchmarkLookup(b *testing.B) {
	const n = 100_000
	s, m, _, _ := careStore(b)
	e, _ := publish(b, s, m, table(patients(n)))
	for name, first := range map[string]int{"present": 1, "absent": n + 1} {
		b.Run(name, func(b *testing.B) {
			for i := range b.N {
				f, err := e.Lookup(keyOf(first + i%n))
				if err != nil || (f.Record != nil) != (first == 1) {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	csv := table(patients(100_000))
	sch, m := careSchema(b)
	id, err := schema.NewIdentifier(person)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(csv)))
	for range b.N {
		if _, _, err := readSubjects(context.Background(), strings.NewReader(csv), &target{sch, m, id, instance}, func(int, int) {}); err != nil {
			b.Fatal(err)
		}
	}
}
