package missing_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest/scratch"
	"github.com/smartdr/smartdr/internal/wal"
)

// segmentSize is small, so that many records cross from one file into the next.
const segmentSize = wal.SegmentSize(1 << 20)

// databases are those of the old server. Each has schemasPerDatabase schemas with the same tables.
var databases = []string{"alpha", "beta", "gamma", "delta"}

var schemasPerDatabase = map[bool]int{false: 12, true: 25}[full()]

var check = postgrestest.Check

// line is the old server's line: its files from before anything was written, and its WAL.
type line struct {
	t    testing.TB
	base *postgres.Server // stopped, and never started
	old  *postgres.Server
}

// startLine starts an old server.
func startLine(t testing.TB, bin postgres.Binaries, v variant) *line {
	t.Helper()
	l := &line{t: t, base: template(t, bin)}
	if v.turned {
		l.base = turned(t, l.base)
	}
	l.old = l.copy(v.settings)
	check(t, l.old.Start(t.Context()))
	return l
}

// copy returns a server that has the files of the base and does not run.
func (l *line) copy(settings map[string]string) *postgres.Server {
	s := postgrestest.Copy(l.t, l.base)
	maps.Copy(s.Settings, settings)
	return s
}

var templates = struct {
	sync.Mutex
	servers map[int]*postgres.Server
	dirs    []string
}{servers: map[int]*postgres.Server{}}

func templateDirs() []string {
	templates.Lock()
	defer templates.Unlock()
	return templates.dirs
}

// template returns a stopped server with the databases and their empty tables. It is made once for each major.
func template(t testing.TB, bin postgres.Binaries) *postgres.Server {
	templates.Lock()
	defer templates.Unlock()
	if templates.servers[bin.Major()] == nil {
		templates.servers[bin.Major()] = makeTemplate(t, bin)
	}
	return templates.servers[bin.Major()]
}

func makeTemplate(t testing.TB, bin postgres.Binaries) *postgres.Server {
	made := postgrestest.NewServer(t, bin)
	maps.Copy(made.Settings, map[string]string{
		"wal_keep_size": "4GB", "max_wal_size": "4GB", "max_connections": "250", "max_prepared_transactions": "100",
		"max_locks_per_transaction": "512", "full_page_writes": "on", "autovacuum": "off", "checkpoint_timeout": "1h",
		"log_min_messages": "fatal", "track_commit_timestamp": "off", "synchronous_commit": "on",
	})
	check(t, made.Init(t.Context(), postgres.InitOptions{NoSync: true, Checksums: true, SegmentSize: segmentSize}))
	check(t, made.Start(t.Context()))
	makeDatabases(t, made)
	check(t, made.Stop(t.Context(), postgres.Fast))
	kept := *made
	dir, err := os.MkdirTemp(scratch.Dir(t), "sdr")
	check(t, err)
	templates.dirs = append(templates.dirs, dir)
	kept.DataDir = filepath.Join(dir, "data")
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", made.DataDir, kept.DataDir).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	return &kept
}

func makeDatabases(t testing.TB, s *postgres.Server) {
	postgrestest.Exec(t, s, "postgres", "create database "+databases[0])
	for i := range schemasPerDatabase {
		postgrestest.Exec(t, s, databases[0], zoo(i, s.Bin.Major()))
	}
	for _, d := range databases[1:] {
		postgrestest.Exec(t, s, "postgres", fmt.Sprintf("create database %s template %s strategy file_copy", d, databases[0]))
	}
}

func schemaName(i int) string { return fmt.Sprintf("h%02d", i) }

// restoreFrom makes a server that starts recover the old line up to a position, and stop before what begins there.
func (l *line) restoreFrom(s *postgres.Server, to wal.LSN, action string) {
	maps.Copy(s.Settings, map[string]string{
		"restore_command":           fmt.Sprintf(`cp "%s/pg_wal/%%f" "%%p"`, l.old.DataDir),
		"recovery_target_lsn":       to.String(),
		"recovery_target_inclusive": "off",
		"recovery_target_action":    action,
		"recovery_target_timeline":  "1",
		"autovacuum":                "off",
	})
	check(l.t, s.WriteStandbySignal())
}

// activeAt starts the server that took over at the fork.
func (l *line) activeAt(fork wal.LSN) *postgres.Server {
	l.t.Helper()
	s := l.copy(nil)
	l.restoreFrom(s, fork, "promote")
	check(l.t, s.Launch(l.t.Context()))
	check(l.t, s.WaitPromoted(l.t.Context()))
	check(l.t, s.Start(l.t.Context()))
	b, err := os.ReadFile(filepath.Join(s.DataDir, "pg_wal", wal.HistoryFileName(2)))
	check(l.t, err)
	history, err := wal.ParseHistory(b)
	check(l.t, err)
	if end, _ := history.EndOf(1); end != fork {
		l.t.Fatalf("the active server left the old line at %s, not at %s", end, fork)
	}
	return s
}

// reading is the copy that only reads.
type reading struct {
	l        *line
	s        *postgres.Server
	promoted bool // it stays where it is
}

// readingAt starts a copy for reading, which stands still at a position.
func (l *line) readingAt(at wal.LSN) *reading {
	l.t.Helper()
	r := &reading{l: l, s: l.copy(map[string]string{"default_transaction_read_only": "on"})}
	r.start(at)
	return r
}

// moveTo replays the copy up to a later position.
func (r *reading) moveTo(at wal.LSN) {
	r.l.t.Helper()
	check(r.l.t, r.s.Stop(r.l.t.Context(), postgres.Immediate))
	r.start(at)
}

func (r *reading) start(at wal.LSN) {
	t := r.l.t
	t.Helper()
	r.l.restoreFrom(r.s, at, "pause")
	check(t, r.s.Start(t.Context()))
	conn := postgrestest.Open(t, r.s, "postgres")
	defer conn.Close(context.Background())
	for end := time.Now().Add(devtest.Patience); ; time.Sleep(5 * time.Millisecond) {
		var replayed string
		check(t, conn.QueryRow(t.Context(), "select pg_last_wal_replay_lsn()::text").Scan(&replayed))
		got, err := wal.ParseLSN(replayed)
		check(t, err)
		if got == at {
			return
		}
		if got > at || time.Now().After(end) {
			t.Fatalf("the copy is at %s, and was to stand at %s", got, at)
		}
	}
}

// connect is missing.ReadInput's Connect.
func (r *reading) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	return r.s.Open(ctx, database)
}

// readingPromoted starts a copy that was promoted at a position, so that nothing is locked there.
func (l *line) readingPromoted(at wal.LSN) *reading {
	l.t.Helper()
	r := &reading{l: l, s: l.activeAt(at), promoted: true}
	for gid, database := range preparedOn(l.t, r.s) {
		postgrestest.Exec(l.t, r.s, database, "rollback prepared '"+gid+"'")
	}
	return r
}

// preparedOn returns the prepared transactions of a server, with their databases.
func preparedOn(t testing.TB, s *postgres.Server) map[string]string {
	t.Helper()
	conn := postgrestest.Open(t, s, "postgres")
	defer conn.Close(context.Background())
	found := map[string]string{}
	for _, row := range query(t, conn, "select gid, database from pg_prepared_xacts")[0].Rows {
		found[string(row[0])] = string(row[1])
	}
	return found
}

func (r *reading) stop() { check(r.l.t, r.s.Stop(r.l.t.Context(), postgres.Immediate)) }

// position asks the old server how far it has written. What is behind it may not be on disk yet.
func (l *line) position() wal.LSN {
	l.t.Helper()
	at, err := wal.ParseLSN(postgrestest.Query(l.t, l.old, "postgres", "select pg_current_wal_insert_lsn()"))
	check(l.t, err)
	return at
}

// end is where the old server's line ends: all of it is on disk, and more is never read.
func (l *line) end() wal.LSN {
	l.t.Helper()
	at := l.position()
	postgrestest.Exec(l.t, l.old, "postgres", "select pg_switch_wal()")
	return l.recordEnd(at)
}

// recordEnd returns where the last record ends at or before a position that the old server told: that lies behind the header of a page that
// holds nothing yet.
func (l *line) recordEnd(at wal.LSN) wal.LSN {
	l.t.Helper()
	end, err := l.endBefore(at)
	check(l.t, err)
	return end
}

// endBefore returns the last end of a record at or before a position.
func (l *line) endBefore(at wal.LSN) (end wal.LSN, err error) {
	err = l.walk(l.t.Context(), l.before(at), at+wal.LSN(segmentSize), func(r wal.Record) error {
		if r.End > at {
			return errEnough
		}
		end = r.End
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return end, err
}

var _ missing.Walk = (&line{}).walk
