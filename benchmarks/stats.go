package main

import (
	"slices"
	"syscall"
	"time"
)

// quantile is the smallest of the samples that a share q of them does not exceed (nearest rank), q in 0..1. It sorts them.
func quantile(samples []float64, q float64) float64 {
	slices.Sort(samples)
	rank := int(q*float64(len(samples)) + 0.999999) // rounded up, but for rounding errors
	return samples[min(max(rank, 1), len(samples))-1]
}

// spread is minimum, median and maximum.
func spread(samples []float64) []Value {
	return []Value{{"min", quantile(samples, 0)}, {"median", quantile(samples, 0.5)}, {"max", quantile(samples, 1)}}
}

// tail is the 50th, 90th and 99th percentile.
func tail(samples []float64) []Value {
	return []Value{{"p50", quantile(samples, 0.5)}, {"p90", quantile(samples, 0.9)}, {"p99", quantile(samples, 0.99)}}
}

func millis(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// processorTime is what all cores together have spent on this process, in milliseconds.
func processorTime() (float64, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e6, nil
}

// measure runs work n times and returns wall and processor time of each run in milliseconds. before, which may be nil, runs
// ahead of each and is not measured.
func measure(n int, before, work func() error) (wall, processor []float64, err error) {
	for range n {
		if before != nil {
			if err := before(); err != nil {
				return nil, nil, err
			}
		}
		from, err := processorTime()
		if err != nil {
			return nil, nil, err
		}
		started := time.Now()
		if err := work(); err != nil {
			return nil, nil, err
		}
		took := time.Since(started)
		to, err := processorTime()
		if err != nil {
			return nil, nil, err
		}
		wall, processor = append(wall, millis(took)), append(processor, to-from)
	}
	return wall, processor, nil
}
