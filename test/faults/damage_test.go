package faults_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// TestAFailoverNeverCompletesOverDamage damages what the secondary's bucket holds, one thing after the other. Each failover
// must say what is wrong and bring nothing up; with everything put back, the same command succeeds. What is found out in the same
// way as another damage is left to SMARTDR_TEST_FULL=1.
func TestAFailoverNeverCompletesOverDamage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 20)
	w.startLoad(5 * time.Millisecond)
	w.replicate()
	w.waitSynced()
	w.waitShipped(devenv.Secondary)
	announced := w.announced()
	w.lose()
	segment := func() string { return w.segmentBefore(announced) }
	for _, c := range []struct {
		name   string
		object func() string
		damage func([]byte) []byte // nil: removed
		alike  bool                // to one that is always tried
	}{
		{"a segment is gone", segment, nil, false},
		{"a segment is truncated", segment, func(b []byte) []byte { return b[:len(b)/2] }, true},
		{"a segment is altered", segment, flip, false},
		{"a pack is altered", w.somePack, riddle, false},
		{"a pack is gone", w.somePack, nil, true},
		{"the manifest is altered", w.manifest, flip, false},
	} {
		if c.alike && !full() {
			continue
		}
		path := c.object()
		restore := damage(t, path, c.damage)
		out, err := w.try("failover", "--group", group, "--yes")
		if err == nil {
			t.Fatalf("%s (%s), and the failover completed:\n%s", c.name, path, out)
		}
		t.Logf("%s: %v", c.name, err)
		if !strings.Contains(err.Error(), "error: ") {
			t.Errorf("%s: the error is no sentence: %v", c.name, err)
		}
		s, err := w.status()
		if err != nil || s.Group.Active != devenv.Primary || s.Group.Operation != nil {
			t.Fatalf("%s: after the failed failover %s is active, operation %v, %v; want %s and none", c.name, s.Group.Active, s.Group.Operation, err, devenv.Primary)
		}
		restore()
	}
	w.failOver()
	w.checkPromises(announced)
	if op := w.lastOperation(); op.State != topology.OperationCompleted {
		t.Errorf("the last failover is %s", op.State)
	}
}

// damage changes or removes a file of the bucket in place, so that the object store's own notes about it stay, and returns
// what puts it back.
func damage(t *testing.T, path string, change func([]byte) []byte) (restore func()) {
	t.Helper()
	if change == nil {
		aside := filepath.Join(devtest.Dir(t), "aside") // where the bucket lies, too
		if err := os.Rename(path, aside); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := os.Rename(aside, path); err != nil {
				t.Fatal(err)
			}
		}
	}
	before, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(bytes.Clone(before)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.WriteFile(path, before, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// riddle alters a byte of every 32 KiB: of a pack a snapshot may not need every chunk.
func riddle(b []byte) []byte {
	b = bytes.Clone(b)
	for i := 0; i < len(b); i += 32 << 10 {
		b[i] ^= 1
	}
	return b
}

func flip(b []byte) []byte {
	b[len(b)*2/3] ^= 1
	return b
}

// segmentBefore returns the segment that holds the last byte before a position: recovery cannot get there without it.
func (w *world) segmentBefore(l wal.LSN) string {
	w.t.Helper()
	return w.largest(".seg", func(path string) bool {
		start, end, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".seg"), "-")
		r := wal.Range{Start: lsnKey(w.t, start), End: lsnKey(w.t, end)}
		return r.Contains(l - 1)
	})
}

func lsnKey(t *testing.T, s string) wal.LSN {
	t.Helper()
	l, err := wal.ParseLSNKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (w *world) somePack() string { return w.largest(".pack", nil) }
func (w *world) manifest() string { return w.largest("/manifest", nil) }

// largest returns the largest object of the secondary's bucket whose key ends so and that fits.
func (w *world) largest(suffix string, fits func(path string) bool) string {
	w.t.Helper()
	var best string
	var size int64 = -1
	err := filepath.WalkDir(w.env.Regions[devenv.Secondary].Gateway.DataDir(), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !strings.HasSuffix(path, suffix) {
			return err
		}
		fi, err := d.Info()
		if err == nil && fi.Size() > size && (fits == nil || fits(path)) {
			best, size = path, fi.Size()
		}
		return err
	})
	if err != nil || best == "" {
		w.t.Fatalf("no object ends with %s: %v", suffix, err)
	}
	return best
}
