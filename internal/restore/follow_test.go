package restore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
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
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
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
	deadline := time.Now().Add(30 * time.Second)
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
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
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

// full lets each test that takes long meet everything that it is for.
func full() bool { return os.Getenv("SMARTDR_TEST_FULL") == "1" }

// newestOrEach runs a test on the newest major, or with SMARTDR_TEST_FULL=1 on each.
func newestOrEach(t *testing.T, test func(t *testing.T, bin postgres.Binaries)) {
	t.Helper()
	if full() {
		postgrestest.ForEach(t, test)
		return
	}
	all := postgrestest.Installations(t)
	test(t, all[len(all)-1])
}

// A standby has what the bucket has about a second after it has it, ends exactly where it is told to, and is promoted there.
func TestFollow(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		src := startSource(t, bin, nil)
		l := newLine(t, src)
		postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT n FROM generate_series(1, 200000) n")
		l.all(t)
		in := l.standby(t)
		f := startFollowing(t, in)
		f.await(t, in, "SELECT count(*)::text FROM t", "200000")
		if _, err := restore.Follow(t.Context(), in); !fault.Is(err, fault.Transient) {
			t.Errorf("a second one beside it: %v", err)
		}
		for _, want := range []string{"200001", "200002", "200003"} {
			postgrestest.Exec(t, src.server, "postgres", "INSERT INTO t VALUES (0)")
			l.all(t)
			stored := time.Now()
			f.await(t, in, "SELECT count(*)::text FROM t", want)
			if lag := time.Since(stored); lag > time.Second {
				t.Errorf("replayed %s after it was stored", lag)
			}
		}
		f.stop(t)
		if !errors.Is(f.err, context.Canceled) {
			t.Fatalf("stopped: %v", f.err)
		}

		postgrestest.Exec(t, src.server, "postgres", "INSERT INTO t VALUES (0)")
		end := l.all(t)
		postgrestest.Exec(t, src.server, "postgres", "INSERT INTO t VALUES (0)")
		l.all(t)
		got, err := followTo(t, in, end+4) // in the middle of what follows
		check(t, err)
		if !got.Reached || got.RecordEnd != end || got.Replayed != end || got.End.Timeline != 1 {
			t.Errorf("followed to %+v, want the end %s", got, end)
		}
		wantCount(t, in.Server, "t", "200004")
		promote(t, in, got, 2)
		wantCount(t, in.Server, "t", "200004")
		if _, err := followTo(t, in, end); !fault.Is(err, fault.Conflict) {
			t.Errorf("following what was promoted: %v", err)
		}
	})
}

// Whoever is killed, the server or who feeds it, and whatever is merged meanwhile: nothing is lost and nothing comes twice.
func TestFollowIsKilledAgainAndAgain(t *testing.T) {
	src := startSource(t, postgrestest.Installations(t)[0], nil)
	l := newLine(t, src)
	postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t (n int, x text)")
	in := l.standby(t)
	const rounds = 12
	for n := range rounds {
		postgrestest.Exec(t, src.server, "postgres", fmt.Sprintf("INSERT INTO t SELECT %d, repeat('x', 500) FROM generate_series(1, 5000)", n))
		f := startFollowing(t, in)
		l.ship(t, src.end(t), 100_000)
		if n%2 == 0 {
			f.await(t, in, "SELECT count(DISTINCT n)::text FROM t", strconv.Itoa(n+1))
		}
		if n%3 == 1 {
			check(t, in.Server.Kill(t.Context()))
		}
		if n%4 == 3 {
			l.merge(t)
		}
		f.stop(t)
		if n%3 == 2 {
			check(t, in.Server.Kill(t.Context()))
		}
	}
	got, err := followTo(t, in, l.at)
	check(t, err)
	if !got.Reached || got.RecordEnd != l.at {
		t.Errorf("%+v, the bucket has %s", got, l.at)
	}
	promote(t, in, got, 2)
	wantCount(t, in.Server, "t", strconv.Itoa(5000*rounds))
}

// merge joins the objects that can be joined.
func (l *line) merge(t *testing.T) {
	t.Helper()
	inv, err := l.archive().List(t.Context())
	check(t, err)
	for _, run := range archive.PlanMerge(inv.Entries, 1<<20) {
		_, err := l.archive().Merge(t.Context(), run)
		check(t, err)
	}
}

// An object that is not there is named, and one that is damaged is never seen by the server; when it is whole again the
// standby goes on.
func TestFollowStopsAtWhatIsNotSound(t *testing.T) {
	src := startSource(t, postgrestest.Installations(t)[0], nil)
	l := newLine(t, src)
	postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT 1")
	sound := l.all(t)
	in := l.standby(t)
	_, err := followTo(t, in, sound)
	check(t, err)
	postgrestest.Exec(t, src.server, "postgres", "INSERT INTO t SELECT generate_series(1, 50000)")
	l.ship(t, src.end(t), 100_000)
	inv, err := l.archive().List(t.Context())
	check(t, err)
	e := inv.Entries[len(inv.Entries)-3]
	whole, _, err := l.store.Get(t.Context(), e.Key)
	check(t, err)

	check(t, l.store.Delete(t.Context(), e.Key))
	got, err := followTo(t, in, l.at)
	if !fault.Is(err, fault.Missing) || !strings.Contains(err.Error(), e.Range.Start.String()) || !strings.Contains(err.Error(), e.Range.End.String()) {
		t.Errorf("%v does not name the hole %s", err, e.Range)
	}
	if got.Reached || got.Replayed > e.Range.Start {
		t.Errorf("it went over the hole: %+v", got)
	}
	damaged := append([]byte(nil), whole...)
	damaged[len(damaged)/2] ^= 1
	put(t, l.store, e.Key, damaged)
	got, err = followTo(t, in, l.at)
	if !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), e.Key) || got.Replayed > e.Range.Start {
		t.Errorf("damage: %v, %+v", err, got)
	}
	foreign := newLine(t, src) // sound in itself, and of another chain
	foreign.at, foreign.store, foreign.lineage = e.Range.Start, l.store, l.lineage
	check(t, l.store.Delete(t.Context(), e.Key))
	foreign.ship(t, e.Range.End, 1<<20)
	if got, err = followTo(t, in, l.at); !fault.Is(err, fault.Corrupt) || got.Replayed > e.Range.Start {
		t.Errorf("an object of another chain: %v, %+v", err, got)
	}
	put(t, l.store, e.Key, whole)
	got, err = followTo(t, in, l.at)
	check(t, err)
	promote(t, in, got, 2)
	wantCount(t, in.Server, "t", "50001")
}

// What the WAL wants of a server is there before the server gets to see it: higher settings, and folders of tablespaces.
func TestFollowMeetsWhatTheServerMustHave(t *testing.T) {
	newestOrEach(t, func(t *testing.T, bin postgres.Binaries) {
		src := startSource(t, bin, nil)
		l := newLine(t, src)
		l.all(t)
		in := l.standby(t)
		f := startFollowing(t, in)
		f.await(t, in, "SELECT current_setting('max_connections')", "100")
		space := filepath.Join(postgrestest.TempDir(t), "space")
		check(t, os.Mkdir(space, 0o700))
		check(t, src.server.Own(space))
		postgrestest.Exec(t, src.server, "postgres", "CREATE TABLESPACE s LOCATION '"+space+"'")
		check(t, src.server.Stop(t.Context(), postgres.Fast))
		check(t, os.Rename(space, space+".primary")) // as on another host
		relinkSpace(t, src.server, space+".primary")
		check(t, src.server.Start(t.Context()))
		l.all(t)
		f.await(t, in, "SELECT count(*)::text FROM pg_tablespace WHERE spcname = 's'", "1")
		check(t, src.server.Stop(t.Context(), postgres.Fast))
		src.server.Settings["max_connections"] = "150"
		check(t, src.server.Start(t.Context()))
		postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t TABLESPACE s AS SELECT 1")
		l.all(t)
		f.await(t, in, "SELECT count(*)::text FROM pg_class WHERE relname = 't'", "1")
		f.await(t, in, "SELECT current_setting('max_connections')", "150")
		f.stop(t)
		got, err := followTo(t, in, l.at)
		check(t, err)
		promote(t, in, got, 2)
		wantCount(t, in.Server, "t", "1")
	})
}

// relinkSpace lets the links of a stopped server's tablespaces lead elsewhere.
func relinkSpace(t *testing.T, s *postgres.Server, to string) {
	t.Helper()
	links, err := filepath.Glob(filepath.Join(s.DataDir, "pg_tblspc", "*"))
	check(t, err)
	for _, link := range links {
		check(t, errors.Join(os.Remove(link), os.Symlink(to, link)))
	}
}

// A standby that is beyond the target says so, unless it is enough that it has it.
func TestFollowBeyondTheTarget(t *testing.T) {
	src := startSource(t, postgrestest.Installations(t)[0], nil)
	l := newLine(t, src)
	postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT 1")
	first := l.all(t)
	postgrestest.Exec(t, src.server, "postgres", "INSERT INTO t VALUES (2)")
	second := l.all(t)
	in := l.standby(t)
	in.LagBelow = time.Second
	got, err := restore.Follow(t.Context(), in)
	if err != nil || !got.Reached || got.Replayed != second {
		t.Fatalf("until the lag is small: %+v, %v", got, err)
	}
	if _, err := followTo(t, in, first); !fault.Is(err, fault.Diverged) {
		t.Errorf("beyond the target: %v", err)
	}
	in.AtLeast = true
	got, err = followTo(t, in, first)
	if err != nil || !got.Reached || got.RecordEnd != second {
		t.Errorf("at least the target: %+v, %v", got, err)
	}
	in.AtLeast, in.Turn, in.LagBelow = false, 300*time.Millisecond, 0
	got, err = followTo(t, in, second+1<<20)
	if err != nil || got.Reached {
		t.Errorf("a turn that was too short: %+v, %v", got, err)
	}
	promote(t, in, got, 2)
}

// A server that takes no connections follows, ends where it should, and is promoted, all the same.
func TestFollowWithoutConnections(t *testing.T) {
	src := startSource(t, postgrestest.Installations(t)[0], nil)
	l := newLine(t, src)
	postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT 1")
	l.all(t)
	in := l.standby(t)
	in.Overrides = map[string]string{"hot_standby": "off"}
	for n := range 3 {
		postgrestest.Exec(t, src.server, "postgres", "INSERT INTO t VALUES (2)")
		end := l.all(t)
		got, err := followTo(t, in, end)
		if err != nil || !got.Reached || got.Replayed < end || got.RecordEnd != end {
			t.Fatalf("the %d. time: %+v, %v, want %s", n+1, got, err, end)
		}
	}
	got, err := followTo(t, in, l.at)
	check(t, err)
	promote(t, in, got, 2)
	wantCount(t, in.Server, "t", "4")
}

// A full disk is said, and once there is room the standby goes on where it stood.
func TestFollowMeetsAFullDisk(t *testing.T) {
	src := startSource(t, postgrestest.Installations(t)[0], nil)
	l := newLine(t, src)
	postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT n, repeat('x', 900) FROM generate_series(1, 60000) n")
	end := l.all(t)
	in := l.standby(t)
	dir := filepath.Join(in.Server.DataDir, "pg_wal")
	check(t, os.RemoveAll(dir))
	check(t, os.Mkdir(dir, 0o700))
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=24m,mode=0700"); err != nil {
		t.Skipf("a small file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	check(t, in.Server.Own(dir))
	if got, err := followTo(t, in, end); !fault.Is(err, fault.Full) || fault.HintOf(err) == "" {
		t.Errorf("on a full disk: %+v, %v", got, err)
	}
	check(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=512m,mode=0700"))
	got, err := followTo(t, in, end)
	check(t, err)
	promote(t, in, got, 2)
	wantCount(t, in.Server, "t", "60000")
	check(t, in.Server.Stop(t.Context(), postgres.Fast))
}

// The log of a server that does nothing but wait does not fill the disk, and is not needed for the promotion.
func TestFollowKeepsTheLogShort(t *testing.T) {
	restore.ShortLogs(t)
	src := startSource(t, postgrestest.Installations(t)[0], nil)
	l := newLine(t, src)
	end := l.all(t)
	in := l.standby(t)
	f := startFollowing(t, in)
	f.await(t, in, "SELECT 'here'", "here")
	postgrestest.WaitFor(t, "the log grows and is emptied twice", shrinks(in.Server.LogFile, 2))
	f.stop(t)
	got, err := followTo(t, in, end)
	check(t, err)
	promote(t, in, got, 2)
}

// shrinks reports whether a file has become shorter so many times.
func shrinks(path string, times int) func() bool {
	var before int64
	return func() bool {
		info, err := os.Stat(path)
		if err != nil {
			return false
		}
		if info.Size() < before {
			times--
		}
		before = info.Size()
		return times <= 0
	}
}
