package restore_test

import (
	"context"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// line is the WAL of a source in a bucket, as a shipper would bring it there.
type line struct {
	src     *source
	store   objectstore.Store
	lineage topology.Lineage
	tli     wal.Timeline

	mu     sync.Mutex
	at     wal.LSN
	digest *archive.Digest
}

func newLine(t *testing.T, src *source) *line {
	t.Helper()
	l := &line{src: src, store: devtest.Store(t), tli: 1, at: src.start, digest: archive.NewDigest()}
	l.lineage = topology.Lineage{ID: "0001-00000001", Epoch: 1, SystemID: "1", SegmentSize: wal.DefaultSegmentSize, Start: wal.Position{Timeline: 1, LSN: src.start}}
	return l
}

func (l *line) archive() *archive.Archive {
	return archive.Open(l.store, "prod", "orders", l.lineage.ID)
}

func (l *line) leg() restore.Leg {
	return restore.Leg{Archive: l.archive(), Lineage: l.lineage, From: l.lineage.Start}
}

// ship stores what the source has flushed, up to an end, in objects of at most n bytes.
func (l *line) ship(t *testing.T, to wal.LSN, n int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for raw := l.src.bytes(t, l.tli, l.at, to); len(raw) > 0; {
		k := min(n, len(raw))
		s := l.seal(t, raw[:k])
		_, err := l.archive().Put(t.Context(), s)
		check(t, err)
		raw = raw[k:]
	}
}

// seal makes the next object and moves on.
func (l *line) seal(t *testing.T, raw []byte) archive.Sealed {
	t.Helper()
	h := archive.Header{Group: "prod", Workspace: "orders", Lineage: l.lineage.ID, Epoch: 1, SystemID: "1", Timeline: l.tli,
		Start: l.at, End: l.at + wal.LSN(len(raw)), State: l.digest.State(), CreatedAt: time.Now()}
	l.digest.Write(raw)
	h.Digest = l.digest.Sum()
	s, err := archive.Seal(h, raw)
	check(t, err)
	l.at = h.End
	return s
}

// all ships everything that the source has, and returns the end of its last record.
func (l *line) all(t *testing.T) wal.LSN {
	t.Helper()
	end := l.src.end(t)
	l.ship(t, end, 1<<20)
	return end
}

// standby is a folder with the source's backup and no WAL.
func (l *line) standby(t *testing.T) restore.FollowInput {
	t.Helper()
	in := l.src.restore(t, l.src.start, 0)
	return restore.FollowInput{ID: "s", Server: in.Server, Superuser: "postgres", SegmentSize: wal.DefaultSegmentSize,
		Legs: []restore.Leg{l.leg()}, ReplayFrom: l.src.start, Poll: 20 * time.Millisecond}
}

// followTo follows until an end is replayed, within a time that no test here needs.
func followTo(t *testing.T, in restore.FollowInput, end wal.LSN) (restore.Followed, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), devtest.Patience)
	defer cancel()
	in.Target = &wal.Position{Timeline: 1, LSN: end}
	if len(in.Legs) > 1 || in.Legs[0].Lineage.Start.Timeline != 1 {
		in.Target.Timeline = 2
	}
	return restore.Follow(ctx, in)
}

// promote attaches what followed, and checks where it came to.
func promote(t *testing.T, in restore.FollowInput, got restore.Followed, tli wal.Timeline) {
	t.Helper()
	attach := restore.AttachInput{Server: in.Server, Superuser: "postgres", SlotName: "next", ReplayFrom: in.ReplayFrom,
		Plan: restore.Plan{Timeline: got.End.Timeline, RecordEnd: got.RecordEnd}, Minimums: got.MaxParameters, Tablespaces: got.Tablespaces}
	attached, err := attachNow(t, attach)
	check(t, err)
	if len(attached.Notes) > 0 {
		t.Logf("notes: %v", attached.Notes)
		attached.Notes = nil
	}
	checkAttached(t, attach, attached, tli)
}

func wantCount(t *testing.T, s *postgres.Server, table, want string) {
	t.Helper()
	if n := postgrestest.Query(t, s, "postgres", "SELECT count(*) FROM "+table); n != want {
		t.Errorf("%s rows in %s, want %s", n, table, want)
	}
}

// following runs Follow beside the test until it is told to stop.
type following struct {
	cancel context.CancelFunc
	done   chan struct{}
	got    restore.Followed
	err    error
	news   chan topology.StandbyProgress
}

func startFollowing(t *testing.T, in restore.FollowInput) *following {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &following{cancel: cancel, done: make(chan struct{}), news: make(chan topology.StandbyProgress, 1000)}
	in.Progress = func(p topology.StandbyProgress) { f.news <- p }
	go func() {
		defer close(f.done)
		f.got, f.err = restore.Follow(ctx, in)
	}()
	t.Cleanup(func() { f.stop(t) })
	return f
}

func (f *following) stop(t *testing.T) {
	t.Helper()
	f.cancel()
	<-f.done
}

// await waits until a standby serves what a query is to say.
func (f *following) await(t *testing.T, in restore.FollowInput, sql, want string) {
	t.Helper()
	deadline := time.Now().Add(devtest.Patience)
	for {
		select {
		case <-f.done:
			t.Fatalf("it ended: %v", f.err)
		default:
		}
		if got, err := tryQuery(t, in.Server, sql); err == nil && got == want {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("%s says %q (%v), want %q", sql, got, err, want)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func tryQuery(t *testing.T, s *postgres.Server, sql string) (got string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), devtest.Patience)
	defer cancel()
	server := *s
	server.Superuser = "postgres"
	c, err := server.Open(ctx, "postgres")
	if err != nil {
		return "", err
	}
	defer c.Close(context.Background())
	err = c.QueryRow(ctx, sql).Scan(&got)
	return got, err
}

// looks counts how often a bucket was listed, and notes how often before each object was fetched.
type looks struct {
	objectstore.Store
	mu    sync.Mutex
	lists int
	after []int
}

func (s *looks) List(ctx context.Context, prefix, startAfter string) iter.Seq2[objectstore.Info, error] {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists++
	return s.Store.List(ctx, prefix, startAfter)
}

func (s *looks) Get(ctx context.Context, key string) ([]byte, objectstore.Info, error) {
	s.mu.Lock()
	s.after = append(s.after, s.lists)
	s.mu.Unlock()
	return s.Store.Get(ctx, key)
}

func (s *looks) listed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists
}

// before returns how many lists came before the n-th fetch.
func (s *looks) before(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.after[n]
}

func (s *looks) fetched() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.after)
}
