package restore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/objectstore/objectstoretest"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const secondsOfADay = 86400

// aDay is WAL of a server as it writes in a day of light load, a short transaction each second, from the start of a segment file on.
func aDay(t *testing.T, s *postgres.Server) (from wal.LSN, raw []byte) {
	t.Helper()
	postgrestest.Query(t, s, "postgres", "SELECT pg_switch_wal()")
	from = parse(t, postgrestest.Query(t, s, "postgres", "SELECT pg_current_wal_insert_lsn()"))
	from = wal.DefaultSegmentSize.Start(from)
	db := postgrestest.Open(t, s, "postgres")
	_, err := db.Exec(t.Context(), "SET synchronous_commit = off")
	check(t, err)
	_, err = db.Exec(t.Context(), fmt.Sprintf(`DO $$ BEGIN FOR i IN 1..%d LOOP
		PERFORM pg_logical_emit_message(true, 'day', repeat('x', 40)); COMMIT; END LOOP; END $$`, secondsOfADay))
	check(t, err)
	postgrestest.Exec(t, s, "postgres", "CHECKPOINT") // flushes what was committed without waiting
	to := parse(t, postgrestest.Query(t, s, "postgres", "SELECT pg_current_wal_flush_lsn()"))
	for at := from; at < to; at += wal.LSN(wal.DefaultSegmentSize) {
		b, err := os.ReadFile(filepath.Join(s.DataDir, "pg_wal", wal.DefaultSegmentSize.FileName(1, at)))
		check(t, err)
		raw = append(raw, b[:min(int64(len(b)), int64(to-at))]...)
	}
	return from, raw
}

func parse(t *testing.T, text string) wal.LSN {
	t.Helper()
	l, err := wal.ParseLSN(text)
	check(t, err)
	return l
}

// day is a lineage that is written in tiny segments.
type day struct {
	t       *testing.T
	archive *archive.Archive
	header  archive.Header
	digest  *archive.Digest
	scan    *wal.Scanner
}

func (d *day) put(raw []byte) {
	d.header.Start = d.header.End
	d.header.End += wal.LSN(len(raw))
	d.header.State = d.digest.State()
	_, _ = d.digest.Write(raw)
	d.header.Digest = d.digest.Sum()
	check(d.t, d.scan.Feed(d.header.Start, raw, func(wal.Record) {}))
	d.header.RecordEnd = d.scan.RecordEnd()
	s, err := archive.Seal(d.header, raw)
	check(d.t, err)
	_, err = d.archive.Put(d.t.Context(), s)
	check(d.t, err)
}

// A day of light load is fetched by some hundreds of requests at most, at whatever moment: while it is written, at its end, and when the
// lineage has ended or its shipper was away before anybody merged.
func TestADayIsFetchedByFewRequests(t *testing.T) {
	s := postgrestest.Start(t, postgrestest.Installations(t)[0], map[string]string{"autovacuum": "off", "wal_keep_size": "1GB", "checkpoint_timeout": "1h"})
	from, raw := aDay(t, s)
	for name, minute := range map[string]int{"merged every minute": 60, "merged once, when it had ended": secondsOfADay} {
		t.Run(name, func(t *testing.T) {
			var asked objectstore.Counters
			store := objectstore.WithCounters(objectstoretest.NewMemory(), &asked)
			l := topology.Lineage{ID: "0001-0000abcd", Epoch: 1, SystemID: "1", SegmentSize: wal.DefaultSegmentSize, Start: wal.Position{Timeline: 1, LSN: from}}
			a := archive.Open(store, "g", "w", l.ID)
			d := &day{t: t, archive: a, digest: archive.NewDigest(), scan: wal.NewScanner(wal.DefaultSegmentSize),
				header: archive.Header{Group: "g", Workspace: "w", Lineage: l.ID, Epoch: 1, SystemID: "1", Timeline: 1, End: from}}
			most := int64(0)
			for i := range secondsOfADay {
				d.put(raw[len(raw)*i/secondsOfADay : len(raw)*(i+1)/secondsOfADay])
				if (i+1)%minute == 0 {
					check(t, a.MergeSmall(t.Context(), int64(l.SegmentSize), i == secondsOfADay-1 && minute == secondsOfADay))
				}
				if (i+1)%7919 == 0 && minute == 60 {
					most = max(most, d.fetch(&asked, l, raw[:d.header.End-from]))
				}
			}
			last := d.fetch(&asked, l, raw)
			t.Logf("%d bytes of WAL in %d segments: at most %d requests, %d at the end", len(raw), secondsOfADay, most, last)
			if most > 400 || last > 400 {
				t.Error("it takes too many requests")
			}
		})
	}
}

// fetch fetches everything, compares it, and returns how many requests that took.
func (d *day) fetch(asked *objectstore.Counters, l topology.Lineage, want []byte) int64 {
	d.t.Helper()
	dir := d.t.TempDir()
	before := asked.Requests()
	got, err := restore.FetchWAL{Legs: []restore.Leg{{Archive: d.archive, Lineage: l, From: l.Start}}, Dir: dir, SegmentSize: l.SegmentSize}.Run(d.t.Context())
	check(d.t, err)
	if got.End.LSN != d.header.End {
		d.t.Fatalf("fetched to %s of %s", got.End.LSN, d.header.End)
	}
	for at := l.Start.LSN; at < d.header.End; at += wal.LSN(l.SegmentSize) {
		b, err := os.ReadFile(filepath.Join(dir, l.SegmentSize.FileName(1, at)))
		check(d.t, err)
		n := min(len(b), int(d.header.End-at))
		if string(b[:n]) != string(want[at-l.Start.LSN:][:n]) {
			d.t.Fatalf("the file at %s is not what was written", at)
		}
	}
	return asked.Requests() - before
}
