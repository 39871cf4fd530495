package ship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// world is a server, two object stores that can misbehave, and a lineage.
type world struct {
	t       testing.TB
	pg      *devenv.Postgres
	source  topology.Source
	stores  []objectstore.Store
	faults  []*objectstore.Faults
	lineage topology.Lineage
}

const testSlot = "smartdr_test"

func newWorld(t testing.TB, settings map[string]string) *world {
	t.Helper()
	majors, err := devenv.Majors() // the first of SMARTDR_TEST_PG_MAJORS
	must(t, err)
	w := &world{t: t, pg: devtest.Postgres(t, devenv.PostgresOptions{Settings: settings, Major: majors[0]})}
	w.source = w.pg.Source("postgres")
	g := devtest.Gateway(t)
	for i := range 2 {
		f := new(objectstore.Faults)
		s := objectstore.Sub(devtest.Open(t, g), fmt.Sprintf("region%d/smartdr/v1/", i))
		w.faults = append(w.faults, f)
		w.stores = append(w.stores, objectstore.WithFaults(s, f))
	}
	w.lineage = w.newLineage()
	return w
}

// newLineage makes the slot and a lineage that begins with it.
func (w *world) newLineage() topology.Lineage {
	w.t.Helper()
	c := w.connect()
	defer c.Close(context.Background())
	ctx := w.t.Context()
	must(w.t, c.CreateSlot(ctx, testSlot))
	slot, err := c.ReadSlot(ctx, testSlot)
	must(w.t, err)
	sys, err := c.IdentifySystem(ctx)
	must(w.t, err)
	size, err := c.SegmentSize(ctx)
	must(w.t, err)
	return topology.Lineage{ID: "0001-0a0b0c0d", Epoch: 1, Region: "east", SystemID: sys.ID, SegmentSize: size,
		Start: wal.Position{Timeline: slot.RestartTimeline, LSN: size.Start(slot.RestartLSN)}, CreatedAt: time.Now()}
}

func (w *world) connect() *replication.Conn {
	w.t.Helper()
	c, err := replication.Connect(w.t.Context(), w.source, "test")
	must(w.t, err)
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) archive(i int) *archive.Archive {
	return archive.Open(w.stores[i], "prod", "orders", w.lineage.ID)
}

func (w *world) tip(i int) archive.Tip {
	w.t.Helper()
	tip, err := w.archive(i).Tip(w.t.Context(), w.lineage)
	must(w.t, err)
	return tip
}

// shipping is a WAL that runs.
type shipping struct {
	w    *world
	stop context.CancelFunc
	done chan struct{}
	err  error

	mu    sync.Mutex
	last  topology.WALProgress
	taken string // the first announcement that took back what an earlier one said
}

// ship starts a WAL with short intervals, changed by change.
func (w *world) ship(change func(*WAL)) *shipping {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	s := &shipping{w: w, stop: stop, done: make(chan struct{})}
	x := WAL{Source: w.source, Slot: testSlot, Group: "prod", Workspace: "orders", Lineage: w.lineage, Epoch: 1,
		Destinations: []Destination{{"east", w.stores[0]}, {"west", w.stores[1]}},
		CutAfter:     50 * time.Millisecond, AnnounceEvery: 100 * time.Millisecond, Announce: s.announced,
		Log: slog.New(slog.NewTextHandler(testWriter{w.t, s.done}, nil))}
	if change != nil {
		change(&x)
	}
	s.last = x.Announced
	go func() {
		defer close(s.done)
		s.err = x.Run(ctx)
	}()
	w.t.Cleanup(func() {
		stop()
		if <-s.done; s.taken != "" {
			w.t.Error(s.taken)
		}
	})
	return s
}

// end stops it and fails the test when it ended with an error.
func (s *shipping) end() {
	s.w.t.Helper()
	s.stop()
	<-s.done
	must(s.w.t, s.err)
}

func (s *shipping) announced(_ context.Context, p topology.WALProgress) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.last.Cursors {
		if now := p.Cursor(c.Region).Point; now.At.Compare(c.Point.At) < 0 && s.taken == "" {
			s.taken = fmt.Sprintf("of %s was announced %s, and then %s", c.Region, c.Point.At, now.At)
		}
	}
	s.last = p
	return nil
}

func (s *shipping) progress() topology.WALProgress {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// reached reports whether bucket i announced that it holds everything up to l.
func (s *shipping) reached(i int, l wal.LSN) bool {
	p := s.progress()
	return i < len(p.Cursors) && p.Cursors[i].Point.At.LSN >= l
}

// until is devtest.Until that fails at once when shipping ended.
func (s *shipping) until(what string, cond func() bool) {
	s.w.t.Helper()
	devtest.Until(s.w.t, what, func() bool {
		select {
		case <-s.done:
			if !cond() {
				s.w.t.Fatalf("shipping ended with %v before: %s", s.err, what)
			}
		default:
		}
		return cond()
	})
}

type testWriter struct {
	t    testing.TB
	done chan struct{}
}

func (w testWriter) Write(b []byte) (int, error) {
	select {
	case <-w.done:
	default:
		w.t.Logf("%s", bytes.TrimSpace(b))
	}
	return len(b), nil
}

// sql runs statements.
func (w *world) sql(statements ...string) {
	w.t.Helper()
	must(w.t, w.pg.Exec(w.t.Context(), "postgres", statements...))
}

// dropSlot drops the slot as soon as the server has noticed that its shipper is gone.
func (w *world) dropSlot() {
	w.t.Helper()
	devtest.Until(w.t, "the slot can be dropped", func() bool {
		return w.pg.Exec(w.t.Context(), "postgres", "select pg_drop_replication_slot('"+testSlot+"')") == nil
	})
}

// flushed returns the server's flush position.
func (w *world) flushed() wal.LSN {
	w.t.Helper()
	return w.queryLSN("select pg_current_wal_flush_lsn()::text")
}

func (w *world) queryLSN(q string) wal.LSN {
	w.t.Helper()
	c := w.open()
	defer c.Close(context.Background())
	var s string
	must(w.t, c.QueryRow(w.t.Context(), q).Scan(&s))
	l, err := wal.ParseLSN(s)
	must(w.t, err)
	return l
}

func (w *world) open() *pgx.Conn {
	w.t.Helper()
	c, err := postgres.Open(w.t.Context(), w.source)
	must(w.t, err)
	return c
}

// write inserts about so many bytes in commits of 1 MB, and returns the position after the last.
func (w *world) write(size int) wal.LSN {
	w.t.Helper()
	c := w.open()
	defer c.Close(context.Background())
	ctx := w.t.Context()
	_, err := c.Exec(ctx, "create table if not exists filler (b bytea); alter table filler alter b set storage external")
	must(w.t, err)
	for n := 0; n < size; n += 1 << 20 {
		_, err := c.Exec(ctx, "insert into filler select substring(string_agg(sha512((random()::text||i)::bytea), '') for 65536) from generate_series(1, 1024) i, generate_series(1, 16) k group by k")
		must(w.t, err)
	}
	return w.flushed()
}

// compare fails the test unless bucket i gives back the server's own WAL files, up to its end.
func (w *world) compare(i int) {
	w.t.Helper()
	tip := w.tip(i)
	files := 0
	must(w.t, w.archive(i).Read(w.t.Context(), tip.Chain, 0, func(at wal.LSN, b []byte) {
		for len(b) > 0 {
			n := min(len(b), int(w.lineage.SegmentSize.Next(at)-at))
			t := tip.Line.At(at)
			name := w.lineage.SegmentSize.FileName(t, at)
			own, err := readAt(filepath.Join(w.pg.DataDir, "pg_wal", name), int64(at-w.lineage.SegmentSize.Start(at)), n)
			if err == nil && !bytes.Equal(own, b[:n]) {
				w.t.Errorf("%s differs between %s and %s", name, at, at+wal.LSN(n))
			}
			if err == nil {
				files++
			} else if !errors.Is(err, os.ErrNotExist) {
				w.t.Error(err)
			}
			at, b = at+wal.LSN(n), b[n:]
		}
	}))
	if files == 0 {
		w.t.Error("nothing was compared")
	}
}

func readAt(path string, off int64, n int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, n)
	_, err = f.ReadAt(b, off)
	return b, err
}
