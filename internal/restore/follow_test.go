package restore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/restore"
)

// full lets each test that takes long meet everything that it is for.
func full() bool { return os.Getenv(postgrestest.FullVariable) != "" }

// A standby has what the bucket has about a second after it has it, ends exactly where it is told to, and is promoted there.
func TestFollow(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		src := startSource(t, bin, nil)
		l := newLine(t, src)
		postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT n FROM generate_series(1, 200000) n")
		l.all(t)
		in, looked := l.standby(t), &looks{Store: l.store}
		in.Legs[0].Archive = archive.Open(looked, "prod", "orders", l.lineage.ID)
		f := startFollowing(t, in)
		f.await(t, in, "SELECT count(*)::text FROM t", "200000")
		if _, err := restore.Follow(t.Context(), in); !fault.Is(err, fault.Transient) {
			t.Errorf("a second one beside it: %v", err)
		}
		for _, want := range []string{"200001", "200002", "200003"} {
			postgrestest.Exec(t, src.server, "postgres", "INSERT INTO t VALUES (0)")
			fetched := looked.fetched()
			l.all(t)
			stored := looked.listed()
			f.await(t, in, "SELECT count(*)::text FROM t", want)
			if at := looked.before(fetched); at > stored+1 { // one list may have been under way
				t.Errorf("it was stored after list %d, and fetched after list %d", stored, at)
			}
		}
		if _, err := tryQuery(t, in.Server, "SELECT name FROM pg_settings WHERE name = 'wal_retrieve_retry_interval' AND setting::int <= 1000 AND unit = 'ms'"); err != nil {
			t.Errorf("the server looks for what was fetched less than once a second: %v", err)
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
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
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
	devtest.Until(t, "the log grows and is emptied twice", shrinks(in.Server.LogFile, 2))
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
