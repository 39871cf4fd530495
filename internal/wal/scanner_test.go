package wal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/wal"
)

// real is WAL that a server wrote: every kind of record that the scanner decodes, and one of many pages.
type real struct {
	start wal.LSN
	bytes []byte // whole segment files
	end   wal.LSN
	dump  string // what pg_waldump says of it
}

const walSize = wal.SegmentSize(1 << 20)

var (
	realOnce sync.Once
	realWAL  real
)

func fixture(t *testing.T) real {
	t.Helper()
	realOnce.Do(func() { realWAL = record(t, withWaldump()) })
	if realWAL.end == 0 {
		t.Skip("the WAL could not be made; another test says why")
	}
	return realWAL
}

// withWaldump returns the newest major whose pg_waldump is there, or 0.
func withWaldump() int {
	for _, b := range postgres.FindAll(devenv.PostgresDirs()) {
		if _, err := os.Stat(filepath.Join(b.BinDir, "pg_waldump")); err == nil {
			return b.Major()
		}
	}
	return 0
}

func record(t *testing.T, major int) (r real) {
	opts := devenv.PostgresOptions{Major: major, Settings: map[string]string{"wal_keep_size": "200MB", "max_prepared_transactions": "3", "autovacuum": "off"}}
	opts.Init.SegmentSize = walSize
	p := devtest.Postgres(t, opts)
	space := filepath.Join(devtest.Dir(t), "space")
	must(t, os.Mkdir(space, 0o777))
	if p.Account != nil {
		must(t, os.Chown(space, int(p.Account.UID), int(p.Account.GID)))
	}
	must(t, p.Exec(t.Context(), "postgres", "select pg_switch_wal()", "checkpoint"))
	from := query(t, p, "select pg_current_wal_flush_lsn()::text")
	must(t, p.Exec(t.Context(), "postgres",
		"create table a (i int primary key, s text)", "insert into a select i, repeat('x', i % 500) from generate_series(1, 3000) i",
		"create tablespace space location '"+space+"'", "create database copied strategy file_copy",
		// 40 kB in one record
		"select pg_logical_emit_message(true, 'test', repeat('y', 40000))",
		"begin; insert into a values (-1); prepare transaction 'two'", "commit prepared 'two'",
		"select pg_switch_wal()", "insert into a values (-2)", "checkpoint", "insert into a values (-3)"))
	end := query(t, p, "select pg_current_wal_flush_lsn()::text")
	r.start, r.end = walSize.Start(from), end
	for l := r.start; l < end; l = walSize.Next(l) {
		b, err := os.ReadFile(filepath.Join(p.DataDir, "pg_wal", walSize.FileName(1, l)))
		must(t, err)
		r.bytes = append(r.bytes, b...)
	}
	r.bytes = r.bytes[:end-r.start]
	out, err := exec.Command(filepath.Join(p.Bin.BinDir, "pg_waldump"), "-p", filepath.Join(p.DataDir, "pg_wal"), "-s", r.start.String(), "-e", end.String()).Output()
	if err != nil && len(out) == 0 {
		t.Logf("no pg_waldump: %v", err)
	}
	r.dump = string(out)
	return r
}

func query(t *testing.T, p *devenv.Postgres, q string) wal.LSN {
	t.Helper()
	c, err := p.Open(t.Context(), "postgres")
	must(t, err)
	defer c.Close(t.Context())
	var s string
	must(t, c.QueryRow(t.Context(), q).Scan(&s))
	l, err := wal.ParseLSN(s)
	must(t, err)
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// scan feeds b in pieces whose sizes next gives.
func scan(s *wal.Scanner, at wal.LSN, b []byte, next func() int) (records []wal.Record, err error) {
	for len(b) > 0 {
		n := min(next(), len(b))
		if err := s.Feed(at, b[:n], func(r wal.Record) { records = append(records, r) }); err != nil {
			return records, err
		}
		at, b = at+wal.LSN(n), b[n:]
	}
	return records, nil
}

func whole() int { return 1 << 30 }

func TestTheScannerSeesWhatPgWaldumpSees(t *testing.T) {
	r := fixture(t)
	s := wal.NewScanner(walSize)
	records, err := scan(s, r.start, r.bytes, whole)
	must(t, err)
	if s.RecordEnd() != r.end {
		t.Errorf("the last record ends at %s, the server flushed up to %s", s.RecordEnd(), r.end)
	}
	var got []string
	for _, c := range records {
		got = append(got, fmt.Sprintf("%X/%08X", uint32(c.Start>>32), uint32(c.Start)))
	}
	if r.dump == "" {
		t.Skip("no pg_waldump here")
	}
	var want []string
	for _, m := range regexp.MustCompile(`lsn: ([0-9A-F]+/[0-9A-F]+)`).FindAllStringSubmatch(r.dump, -1) {
		want = append(want, m[1])
	}
	if g, w := strings.Join(got, " "), strings.Join(want, " "); g != w {
		t.Errorf("%d records, pg_waldump sees %d", len(got), len(want))
	}
}

func TestTheScannerReadsEveryMajor(t *testing.T) {
	devtest.EachMajor(t, func(t *testing.T, major int) {
		r := record(t, major)
		s := wal.NewScanner(walSize)
		records, err := scan(s, r.start, r.bytes, whole)
		must(t, err)
		if s.RecordEnd() != r.end || len(records) < 3000 {
			t.Errorf("%d records, the last ends at %s, the server flushed up to %s", len(records), s.RecordEnd(), r.end)
		}
	})
}

func TestTheScannerDecodes(t *testing.T) {
	r := fixture(t)
	var commits, prepared, checkpoints, spaces, copies int
	records, err := scan(wal.NewScanner(walSize), r.start, r.bytes, whole)
	must(t, err)
	for _, c := range records {
		switch {
		case c.Commit != nil && c.XID == 0:
			prepared++
		case c.Commit != nil:
			commits++
		case c.Checkpoint != nil:
			checkpoints++
		case c.Tablespace != nil && filepath.Base(c.Tablespace.Location) == "space" && c.Tablespace.OID > 16383:
			spaces++
		case c.FileCopy != nil && c.FileCopy.Database > 16383:
			copies++
		}
	}
	if commits < 6 || prepared != 1 || checkpoints < 2 || spaces != 1 || copies != 1 {
		t.Errorf("%d commits, %d prepared, %d checkpoints, %d tablespaces, %d file copies", commits, prepared, checkpoints, spaces, copies)
	}
	if r.dump != "" && strings.Count(r.dump, "desc: COMMIT ") != commits {
		t.Errorf("%d commits, pg_waldump sees %d", commits, strings.Count(r.dump, "desc: COMMIT "))
	}
}

// Wherever a multi-page record is cut, what ends before the cut is found, nothing after it, and a scanner that is resumed
// there goes on as if nothing had been.
func TestTheScannerCutAtEveryByteOfALongRecord(t *testing.T) {
	r := fixture(t)
	all, err := scan(wal.NewScanner(walSize), r.start, r.bytes, whole)
	must(t, err)
	var long, before wal.Record
	for i, c := range all {
		if c.End-c.Start > 4*wal.PageSize && c.End-c.Start < 1<<18 {
			long, before = c, all[i-1]
		}
	}
	if long.End == 0 {
		t.Fatal("no long record")
	}
	from := long.Start - long.Start%wal.PageSize // a page before would do as well
	for cut := long.Start; cut <= long.End; cut++ {
		s := wal.NewScanner(walSize)
		records, err := scan(s, from, r.bytes[from-r.start:cut-r.start], whole)
		must(t, err)
		want := before.End
		if cut > long.End-8 && s.RecordEnd() == long.End {
			want = long.End // records end at multiples of 8; the last bytes may be padding
		}
		if cut == long.End {
			want = long.End
		}
		if s.RecordEnd() != want && len(records) > 0 {
			t.Fatalf("cut at %s: the last record ends at %s, want %s", cut, s.RecordEnd(), want)
		}
		resumed := wal.ResumeScanner(walSize, want)
		at := max(cut, want)
		must(t, resumed.Feed(want, r.bytes[want-r.start:at-r.start], nil))
		must(t, resumed.Feed(at, r.bytes[at-r.start:long.End+8-r.start], nil))
		if resumed.RecordEnd() < long.End {
			t.Fatalf("cut at %s and resumed: the last record ends at %s, want %s", cut, resumed.RecordEnd(), long.End)
		}
	}
}

func TestTheScannerDoesNotCareHowItIsFed(t *testing.T) {
	r := fixture(t)
	want, err := scan(wal.NewScanner(walSize), r.start, r.bytes, whole)
	must(t, err)
	one := 0
	for _, size := range []func() int{func() int { return 1 }, func() int { return 7 }, func() int { one = (one*31 + 11) % 9000; return one + 1 }} {
		got, err := scan(wal.NewScanner(walSize), r.start, r.bytes, size)
		must(t, err)
		if len(got) != len(want) || got[len(got)-1].End != want[len(want)-1].End {
			t.Errorf("%d records, want %d", len(got), len(want))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		skip := rapid.IntRange(0, len(r.bytes)-1).Draw(t, "skip")
		s := wal.NewScanner(walSize)
		if _, err := scan(s, r.start+wal.LSN(skip), r.bytes[skip:], func() int { return rapid.IntRange(1, 300000).Draw(t, "size") }); err != nil {
			var zeros *wal.ScanError
			if errors.As(err, &zeros) && (strings.Contains(err.Error(), "a record of 0 bytes") || strings.Contains(err.Error(), "that of 0/0")) {
				return // begun behind a log switch, in what only fills up the file
			}
			t.Fatalf("begun at byte %d: %v", skip, err)
		}
	})
}

func TestTheScannerFindsDamage(t *testing.T) {
	r := fixture(t)
	records, err := scan(wal.NewScanner(walSize), r.start, r.bytes, whole)
	must(t, err)
	victim := records[len(records)/2]
	for off := victim.Start; off < victim.Start+24; off++ { // its header, byte by byte
		if i := off - victim.Start; i >= 18 && i < 20 {
			continue // padding is in the CRC as well, but skip nothing that counts: it follows below
		}
		b := bytes.Clone(r.bytes)
		b[off-r.start] ^= 0x40
		if _, err := scan(wal.NewScanner(walSize), r.start, b, whole); err == nil {
			t.Errorf("byte %d of a record's header was changed unnoticed", off-victim.Start)
		}
	}
	b := bytes.Clone(r.bytes)
	binary.LittleEndian.PutUint64(b[wal.PageSize+8:], 77) // a page that is another one's
	if _, err := scan(wal.NewScanner(walSize), r.start, b, whole); err == nil {
		t.Error("a page in the wrong place was not noticed")
	}
}

func FuzzScanner(f *testing.F) {
	f.Add([]byte{0x10, 0xD1, 2, 0, 1, 0, 0, 0}, uint16(9))
	f.Fuzz(func(t *testing.T, b []byte, piece uint16) {
		s := wal.NewScanner(walSize)
		_, _ = scan(s, 0, b, func() int { return int(piece) + 1 }) // must neither panic nor hang
		if s.RecordEnd() > walSize.Next(wal.LSN(len(b))) {
			t.Errorf("a record ends at %s", s.RecordEnd())
		}
	})
}
