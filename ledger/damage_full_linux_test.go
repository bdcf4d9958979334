package ledger

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/grille-gateway/grille/ledger/entry"
)

const fullDiskEnv = "GRILLE_FULL_DISK"

// TestFullDisk runs a store on a file system that fills up, at a different step each time, in a child process with mounts
// of its own. The store stops when it is full, loses nothing that was acknowledged, and goes on once there is room.
// Without the right to mount the test fails, unless NETNS=0 says that this machine has no namespaces.
func TestFullDisk(t *testing.T) {
	if dir := os.Getenv(fullDiskEnv); dir != "" {
		fillDisks(t, dir)
		return
	}
	if os.Getenv("NETNS") == "0" {
		t.Log("NOT RUN: NETNS=0; a store on a full disk was not tested")
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), fullDiskEnv+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%sThis test needs Linux and root; NETNS=0 leaves it out.", err, out.Bytes())
	}
	if n := strings.Count(out.String(), "--- PASS: TestFullDisk/"); n != 2*fullDiskRounds {
		t.Fatalf("%d of %d disks were filled:\n%s", n, 2*fullDiskRounds, out.Bytes())
	}
}

// fullDiskRounds is how many sizes of disk are tried, a page apart, and how many numbers of files.
const fullDiskRounds = 12

func fillDisks(t *testing.T, dir string) {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatalf("taking mounts apart: %v", err)
	}
	base := prepare(t)
	for i := range fullDiskRounds {
		t.Run(fmt.Sprintf("pages-%d", i), func(t *testing.T) {
			fillDisk(t, base, dir, fmt.Sprintf("size=%d", 700<<10+i*4096))
		})
		t.Run(fmt.Sprintf("files-%d", i), func(t *testing.T) {
			fillDisk(t, base, dir, fmt.Sprintf("size=64m,nr_inodes=%d", 90+i))
		})
	}
}

// fillDisk puts the victim's folder on a disk of its own and appends until that is full.
func fillDisk(t *testing.T, base *cluster, dir, options string) {
	c := &cluster{tb: t, cfg: base.cfg, clock: newClock(), dir: t.TempDir(), stores: make(map[string]*Store)}
	if err := os.CopyFS(c.dir, os.DirFS(base.dir)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", c.path(victim), "tmpfs", 0, options); err != nil {
		t.Fatalf("mounting a small disk: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(c.path(victim), syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	from := filepath.Join(base.dir, filepath.Base(c.path(victim)))
	if err := os.CopyFS(c.path(victim), os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	ballast := make([]string, 20) // what frees room when it is removed
	for i := range ballast {
		ballast[i] = filepath.Join(c.path(victim), fmt.Sprint("ballast", i))
		if err := os.WriteFile(ballast[i], make([]byte, 8<<10), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range crashNames {
		c.open(name)
	}
	log := &seen{entries: make(map[uint64]string)}
	err := fillStory(c, log)
	if !errors.Is(err, ErrStopped) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is full: %v", err)
	}
	t.Logf("%d entries acknowledged, %d checkpoints sent, then: %v", len(log.entries), len(log.sent), err)
	mustRefuse(t, c.stores[victim])
	if err := c.stores[victim].Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(c.options(victim)); err == nil { // still full: it may open if it has nothing to write
		c.stores[victim] = s
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	} else if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("opening on the full disk: %v", err)
	}
	for _, path := range ballast {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	c.open(victim)
	checkSurvival(t, c, log, "a full disk")
	for _, s := range c.stores {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// fillStory lets the victim append, push and mirror until something fails.
func fillStory(c *cluster, log *seen) error {
	v := c.stores[victim]
	for i := range 10_000 {
		var noise [700]byte
		if _, err := rand.Read(noise[:]); err != nil {
			return err
		}
		e := entry.Unknown{Raw: fmt.Appendf(nil, `{"kind":"x","v":1,"noise":%q}`, hex.EncodeToString(noise[:]))}
		idx, err := v.Append(context.Background(), e)
		if err != nil {
			return err
		}
		log.entries[idx[0]] = string(e.Raw)
		for _, m := range crashNames {
			if err := pushOnce(c, victim, m, &log.sent); err != nil {
				return err
			}
		}
		log.final = max(log.final, c.finalSize(victim, victim))
		if i%3 == 0 {
			if _, err := c.stores[other].Append(context.Background(), e); err != nil {
				return err
			}
		}
		for _, m := range []string{"GOV/health", victim} {
			out := &log.cosigns
			if m != victim {
				out = nil
			}
			if err := pushOnce(c, other, m, out); err != nil {
				return err
			}
		}
	}
	return errors.New("the disk never fills")
}
