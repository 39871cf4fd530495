package activities

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// forked is the WAL of a server as if a branch had begun there now.
func forked(t *testing.T, s *postgres.Server, store objectstore.Store, lineage string) *branchWAL {
	t.Helper()
	const size = wal.DefaultSegmentSize
	at := wal.Position{Timeline: 1, LSN: endOf(t, s)}
	return &branchWAL{
		lineage: topology.Lineage{ID: lineage, SegmentSize: size, Start: wal.Position{Timeline: 1, LSN: size.Start(at.LSN)}, Parent: &topology.Fork{At: at}},
		dir:     filepath.Join(s.DataDir, "pg_wal"), archive: archive.Open(store, "prod", "main", lineage),
	}
}

// endOf is where the WAL of a server ends, all of which is flushed then.
func endOf(t *testing.T, s *postgres.Server) wal.LSN {
	t.Helper()
	postgrestest.Exec(t, s, "postgres", "checkpoint")
	l, err := wal.ParseLSN(postgrestest.Query(t, s, "postgres", "select pg_current_wal_flush_lsn()"))
	check(t, err)
	return l
}

func (w *branchWAL) want(t *testing.T, s *postgres.Server, want bool, what string) {
	t.Helper()
	w.end = endOf(t, s)
	if is, err := w.holdsPoint(t.Context()); err != nil || is != want {
		t.Errorf("%s: %v, %v", what, is, err)
	}
}

// A restore point that was made in a branch is found in its server's files, and nothing else is taken for one.
func TestWhetherARestorePointWasMade(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, map[string]string{"wal_log_hints": "on"})
		postgrestest.Exec(t, s, "postgres", "select pg_create_physical_replication_slot('keeps', true)")
		postgrestest.Exec(t, s, "postgres", "create table t as select generate_series(1, 200000) n")
		postgrestest.Exec(t, s, "postgres", "select pg_create_restore_point('of the parent')")
		w := forked(t, s, devtest.Store(t), "0001-aaaaaaaa")
		w.want(t, s, false, "nothing happened")
		postgrestest.Query(t, s, "postgres", "select count(*)::text from t") // leaves hints
		if images := endOf(t, s) - w.lineage.Parent.At.LSN; images < 1<<20 {
			t.Errorf("reading wrote %d bytes of WAL", images)
		}
		postgrestest.Exec(t, s, "postgres", "vacuum t")
		postgrestest.Exec(t, s, "postgres", "select pg_switch_wal()")
		s.Settings["max_connections"] = "150"
		check(t, s.Stop(t.Context(), postgres.Fast))
		check(t, s.Start(t.Context()))
		w.want(t, s, false, "read, vacuumed, switched, restarted with other settings")
		postgrestest.Exec(t, s, "postgres", "select pg_create_restore_point('here')")
		w.want(t, s, true, "made")
		postgrestest.Exec(t, s, "postgres", "select pg_switch_wal()")
		w.want(t, s, true, "made, and switched behind it")
	})
}

// What the server's disk does not have any more is in the bucket.
func TestARestorePointThatOnlyTheBucketHas(t *testing.T) {
	r := newRecorded(t)
	w := forked(t, r.server, r.stores["west"], r.l1.ID)
	lost := forked(t, r.server, r.stores["west"], "0001-bbbbbbbb")
	first := w.lineage.SegmentSize.Next(w.lineage.Start.LSN)
	postgrestest.Exec(t, r.server, "postgres", "select pg_create_restore_point('early')")
	for range 2 {
		postgrestest.Exec(t, r.server, "postgres", "select pg_switch_wal()")
		w.want(t, r.server, true, "on the disk")
	}
	r.shipped()
	w.dir = t.TempDir()
	lost.dir = w.dir
	for at := w.lineage.SegmentSize.Next(first); at < w.end; at = w.lineage.SegmentSize.Next(at) {
		name := w.lineage.SegmentSize.FileName(1, at)
		check(t, os.Symlink(filepath.Join(r.server.DataDir, "pg_wal", name), filepath.Join(w.dir, name)))
	}
	w.want(t, r.server, true, "in the bucket")
	lost.want(t, r.server, false, "in neither") // nobody can go there
	w.lineage.Parent.At.LSN = first
	w.want(t, r.server, false, "before the fork")
	w.lineage.Parent.At.LSN = lost.lineage.Parent.At.LSN

	var faults objectstore.Faults
	w.archive = archive.Open(objectstore.WithFaults(r.stores["west"], &faults), "prod", "main", r.l1.ID)
	faults.Add(objectstore.Rule{Ops: objectstore.OpGet, Times: 1, Fail: fault.Newf(fault.Missing, "get", "it was merged meanwhile")})
	w.want(t, r.server, true, "merged after it was listed")
	faults.Add(objectstore.Rule{Fail: fault.Newf(fault.Transient, "get", "the bucket is away")})
	if _, err := w.holdsPoint(t.Context()); !fault.Is(err, fault.Transient) {
		t.Errorf("the bucket is away: %v", err)
	}
	postgrestest.Exec(t, r.server, "postgres", "select pg_create_restore_point('late')")
	lost.want(t, r.server, true, "on the disk, behind what is in neither")
	r.lose(archive.Open(r.stores["west"], "prod", "main", r.l1.ID), first)
	w.archive, w.lineage.Parent.At.LSN = archive.Open(r.stores["west"], "prod", "main", r.l1.ID), first
	w.want(t, r.server, true, "on the disk, behind a hole in the bucket")
}

// lose takes out of a bucket what holds WAL behind an LSN.
func (r *recorded) lose(a *archive.Archive, from wal.LSN) {
	r.t.Helper()
	inv, err := a.List(r.t.Context())
	check(r.t, err)
	for _, e := range inv.Entries {
		if e.Range.End > from {
			check(r.t, r.stores["west"].Delete(r.t.Context(), e.Key))
		}
	}
}

// While the bucket is away that has what the disk does not have any more, a branch is not forgotten, and what keeps it is said.
func TestABranchOfWhichNotAllIsKnown(t *testing.T) {
	w, c, target := branched(t)
	l := attachedTo(t, w, c, "11111111")
	s := startServer(t)
	check(t, markFresh(t.Context(), s))
	in, b, end := BranchInput{Group: "prod", Branch: "test", Attachment: "11111111"}, w.read(t), l.SegmentSize.Next(l.Start.LSN)
	answers := w.faults["west"].Add(objectstore.Rule{Keys: regexp.MustCompile("/wal/"), Fail: fault.Newf(fault.Transient, "list", "it is away")})
	if is, err := target.unwritten(t.Context(), in, b, s, end); is || !fault.Is(err, fault.Transient) {
		t.Errorf("unwritten: %v, %v", is, err)
	}
	if a := w.read(t).Attached; !strings.Contains(a.Error, "restore point") || !strings.Contains(a.Error, "it is away") || a.Hint == "" {
		t.Errorf("it is attached with %q, hint %q", a.Error, a.Hint)
	}
	answers()
	if is, err := target.unwritten(t.Context(), in, b, s, end); !is || err != nil {
		t.Errorf("unwritten, as far as there is anything: %v, %v", is, err)
	}
	postgrestest.Exec(t, s, "postgres", "create table t ()")
	if is, err := target.unwritten(t.Context(), in, b, s, end); is || err != nil {
		t.Errorf("unwritten: %v, %v", is, err)
	}
}
