package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// Machine is what the figures were taken on. What the system does not say is empty.
type Machine struct {
	Processor   string  `json:"processor"`
	Cores       int     `json:"cores"`   // that this process may use
	Memory      float64 `json:"ram_gib"` // GiB
	System      string  `json:"system"`
	Load        string  `json:"load"` // average over 1, 5 and 15 minutes, before the run
	SyncMillis  float64 `json:"fsync_ms"`
	Go          string  `json:"go"`
	Gnark       string  `json:"gnark"`
	GnarkCrypto string  `json:"gnark_crypto"`
	Time        string  `json:"time"`
}

// machine looks at the machine and times the disk that dir is on.
func machine(dir string) (Machine, error) {
	m := Machine{Processor: field("/proc/cpuinfo", "model name"), Cores: runtime.GOMAXPROCS(0), System: runtime.GOOS + "/" + runtime.GOARCH,
		Go: runtime.Version(), Time: time.Now().UTC().Format(time.RFC3339)}
	if m.Processor == "" {
		m.Processor = runtime.GOARCH
	}
	if kilobytes, err := strconv.ParseFloat(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 64); err == nil {
		m.Memory = kilobytes / (1 << 20)
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load = strings.Join(strings.Fields(string(load))[:3], " ")
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			switch d.Path {
			case "github.com/consensys/gnark":
				m.Gnark = d.Version
			case "github.com/consensys/gnark-crypto":
				m.GnarkCrypto = d.Version
			}
		}
	}
	var err error
	m.SyncMillis, err = syncTime(dir)
	return m, err
}

// field reads "name : value" from a file of the system.
func field(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// syncTime is the median time to append a page to a file and make it durable: receipts, entries and epochs wait for it.
func syncTime(dir string) (float64, error) {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return 0, fmt.Errorf("timing the disk: %w", err)
	}
	defer f.Close()
	wall, _, err := measure(21, nil, func() error {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return err
		}
		return f.Sync()
	})
	if err != nil {
		return 0, fmt.Errorf("timing the disk: %w", err)
	}
	return quantile(wall, 0.5), nil
}

func (m *Machine) lines() [][2]string {
	return [][2]string{
		{"processor", fmt.Sprintf("%s, %d cores in use, %.1f GiB RAM, %s", m.Processor, m.Cores, m.Memory, m.System)},
		{"load before", m.Load},
		{"disk", fmt.Sprintf("4 KiB appended and synced in %.2f ms (median)", m.SyncMillis)},
		{"software", fmt.Sprintf("%s, gnark %s, gnark-crypto %s", m.Go, m.Gnark, m.GnarkCrypto)},
		{"time", m.Time},
	}
}
