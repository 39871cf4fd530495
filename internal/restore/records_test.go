package restore_test

import (
	"errors"
	"testing"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// walked returns where the records between two positions begin.
func walked(t *testing.T, r restore.Records, from, to wal.LSN) (starts []wal.LSN) {
	t.Helper()
	check(t, r.Walk(t.Context(), from, to, func(rec wal.Record) error {
		if rec.Start < from || rec.End > to || len(starts) > 0 && rec.Start <= starts[len(starts)-1] {
			t.Errorf("from %s to %s: the record from %s to %s", from, to, rec.Start, rec.End)
		}
		starts = append(starts, rec.Start)
		return nil
	}))
	return starts
}

// A walk visits each record once, over objects and lineages and from wherever it begins; how far back it can is known.
func TestRecords(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		src := startSource(t, bin, nil)
		parent := newLine(t, src)
		size := wal.SegmentSize(wal.DefaultSegmentSize)
		postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t (n int, filler text)")
		for range 3 {
			postgrestest.Exec(t, src.server, "postgres", "INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(1, 2000) g")
			postgrestest.Exec(t, src.server, "postgres", "SELECT pg_switch_wal()")
		}
		fork := src.end(t)
		parent.ship(t, fork, 300_000)
		child := &line{src: src, store: parent.store, tli: 1, at: size.Start(fork), digest: archive.NewDigest(), lineage: parent.lineage}
		child.lineage.ID, child.lineage.Epoch = "0002-00000002", 2
		child.lineage.Start = wal.Position{Timeline: 1, LSN: size.Start(fork)}
		child.lineage.Parent = &topology.Fork{Lineage: parent.lineage.ID, At: wal.Position{Timeline: 1, LSN: fork}}
		postgrestest.Exec(t, src.server, "postgres", "INSERT INTO t SELECT g, repeat('y', 500) FROM generate_series(1, 2000) g")
		end := child.all(t)
		legs := []restore.Leg{parent.leg(), child.leg()}
		legs[0].To, legs[1].To = fork, end
		r := restore.Records{Legs: legs, SegmentSize: size}

		oldest, err := r.Oldest(t.Context())
		check(t, err)
		if oldest != src.start {
			t.Errorf("the oldest is %s, and the first lineage begins at %s", oldest, src.start)
		}
		all := walked(t, r, oldest, end)
		for _, from := range []wal.LSN{oldest, oldest + 1, fork - 1, fork, all[len(all)/2], all[len(all)/2] + 1, all[len(all)-1]} {
			for _, to := range []wal.LSN{fork, end} {
				want := 0
				for _, s := range all { // those at the fork and at the end begin where another one ends
					if s >= from && s < to {
						want++
					}
				}
				if got := len(walked(t, r, from, to)); got != want {
					t.Errorf("from %s to %s: %d records, want %d", from, to, got, want)
				}
			}
		}
		stop := errors.New("enough")
		if err := r.Walk(t.Context(), oldest, end, func(wal.Record) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("a walk that was stopped returns %v", err)
		}
		parent.gone(t, r, end)
	})
}

// gone removes the first object of a lineage, and looks from where on there is WAL.
func (l *line) gone(t *testing.T, r restore.Records, end wal.LSN) {
	t.Helper()
	inv, err := l.archive().List(t.Context())
	check(t, err)
	check(t, l.store.Delete(t.Context(), inv.Entries[0].Key))
	next := wal.SegmentSize(wal.DefaultSegmentSize).Next(l.src.start)
	if oldest, err := r.Oldest(t.Context()); err != nil || oldest != next {
		t.Errorf("without its first object the oldest is %s, want %s: %v", oldest, next, err)
	}
	if err := r.Walk(t.Context(), l.src.start, end, func(wal.Record) error { return nil }); !fault.Is(err, fault.Missing) {
		t.Errorf("a walk from what is gone: %v", err)
	}
	if len(walked(t, r, next, end)) == 0 {
		t.Error("nothing was visited from the oldest on")
	}
}
