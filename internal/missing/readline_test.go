package missing_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/wal"
)

const segment = wal.SegmentSize(16 << 20)

// oldLine is an old server, and the copy of it that is read.
type oldLine struct {
	t               *testing.T
	old, copy       *postgres.Server
	spare           *postgres.Server // a second copy, that has not been started
	base, fork, tip wal.LSN
	dir             string
}

// newOldLine starts an old server which has run some SQL, each text by itself, when the copy is made.
func newOldLine(t *testing.T, bin postgres.Binaries, sql ...string) *oldLine {
	t.Helper()
	old := postgrestest.Start(t, bin, map[string]string{"max_prepared_transactions": "10", "wal_keep_size": "1GB", "autovacuum": "off", "allow_in_place_tablespaces": "on"})
	for _, one := range sql {
		postgrestest.Exec(t, old, "postgres", one)
	}
	postgrestest.Check(t, old.Stop(t.Context(), postgres.Fast))
	control, err := old.ControlData(t.Context())
	postgrestest.Check(t, err)
	l := &oldLine{t: t, old: old, copy: postgrestest.Copy(t, old), spare: postgrestest.Copy(t, old), dir: t.TempDir(), base: control.Checkpoint.LSN}
	postgrestest.Check(t, old.Start(t.Context()))
	l.exec("checkpoint") // which says what transactions are open
	return l
}

func (l *oldLine) exec(sql string) { postgrestest.Exec(l.t, l.old, "postgres", sql) }

// here is where the old server's line is: behind a commit that is on disk.
func (l *oldLine) here() wal.LSN {
	l.t.Helper()
	l.exec("select pg_logical_emit_message(true, 'test', 'here')")
	at, err := wal.ParseLSN(postgrestest.Query(l.t, l.old, "postgres", "pg_current_wal_lsn()"))
	postgrestest.Check(l.t, err)
	return at
}

// play starts the copy again, and waits until it stands still at a position.
func (l *oldLine) play(at wal.LSN) {
	t := l.t
	t.Helper()
	maps.Copy(l.copy.Settings, map[string]string{
		"restore_command":     fmt.Sprintf(`cp "%s/pg_wal/%%f" "%%p"`, l.old.DataDir),
		"recovery_target_lsn": at.String(), "recovery_target_inclusive": "off", "recovery_target_action": "pause", "recovery_target_timeline": "1",
	})
	postgrestest.Check(t, l.copy.Stop(t.Context(), postgres.Fast))
	postgrestest.Check(t, l.copy.WriteStandbySignal())
	postgrestest.Check(t, l.copy.Start(t.Context()))
	devtest.Until(t, "the copy stands at "+at.String(), func() bool {
		return postgrestest.Query(t, l.copy, "postgres", "pg_last_wal_replay_lsn()") == at.String()
	})
}

func (l *oldLine) walk(_ context.Context, from, to wal.LSN, visit func(wal.Record) error) error {
	s := wal.NewScanner(segment)
	var stop error
	for at := segment.Start(from); at < to && stop == nil; at = segment.Next(at) {
		b, err := os.ReadFile(filepath.Join(l.old.DataDir, "pg_wal", segment.FileName(1, at)))
		if err != nil {
			return fault.New(fault.Missing, "walk", err)
		}
		err = s.Feed(at, b[:min(int(to-at), len(b))], func(r wal.Record) {
			if stop == nil && r.End > from && r.End <= to {
				stop = visit(r)
			}
		})
		if err != nil && stop == nil {
			return err
		}
	}
	return stop
}

func (l *oldLine) scan() *missing.Changes {
	l.t.Helper()
	c, err := missing.Scan(l.t.Context(), missing.ScanInput{Walk: l.walk, Fork: l.fork, Tip: l.tip, Oldest: segment.Start(l.base), Segment: segment})
	postgrestest.Check(l.t, err)
	return c
}

func (l *oldLine) input(c *missing.Changes) missing.ReadInput {
	return missing.ReadInput{
		Changes: c, Databases: []string{"postgres"}, Dir: l.dir, Workspace: "ws", Lineage: "li",
		Connect: func(ctx context.Context, database string) (*pgx.Conn, error) { return l.copy.Open(ctx, database) },
	}
}

// changeSet is a set that was read back.
type changeSet struct {
	missing.Header
	lines []missing.Line
}

// sets reads fork and tip, and returns the sets by database.
func (l *oldLine) sets(in missing.ReadInput) (map[string]*changeSet, []string) {
	l.t.Helper()
	l.play(l.fork)
	postgrestest.Check(l.t, missing.ReadFork(l.t.Context(), in))
	l.play(l.tip)
	return l.tipSets(in)
}

func (l *oldLine) tipSets(in missing.ReadInput) (map[string]*changeSet, []string) {
	l.t.Helper()
	r, err := missing.ReadTip(l.t.Context(), in, func(database string) (io.WriteCloser, error) {
		return os.Create(filepath.Join(l.dir, database+".set"))
	})
	postgrestest.Check(l.t, err)
	found, err := filepath.Glob(filepath.Join(l.dir, "*.set"))
	postgrestest.Check(l.t, err)
	all := map[string]*changeSet{}
	for _, f := range found {
		s := readSet(l.t, f)
		all[s.Database] = s
	}
	return all, r.Notes
}

func readSet(t *testing.T, path string) *changeSet {
	t.Helper()
	f, err := os.Open(path)
	postgrestest.Check(t, err)
	defer f.Close()
	r, err := missing.NewReader(f)
	postgrestest.Check(t, err)
	defer r.Close()
	s := &changeSet{Header: r.Header}
	for {
		line, err := r.Next()
		if err == io.EOF {
			return s
		}
		postgrestest.Check(t, err)
		s.lines = append(s.lines, line)
	}
}

// table returns the place of a table, and fails the test if it is not listed.
func (s *changeSet) table(t *testing.T, name string) int {
	t.Helper()
	for i, table := range s.Tables {
		if table.Name == name {
			return i
		}
	}
	t.Fatalf("the set has no table %s", name)
	return 0
}

// between makes a line: what is committed before the fork, and behind it, where each text is a transaction unless it says otherwise.
func (l *oldLine) between(before string, behind ...string) {
	l.t.Helper()
	l.exec(before)
	l.fork = l.here()
	for _, sql := range behind {
		l.exec(sql)
	}
	l.tip = l.here()
}

// promote ends the copy's recovery where it stands.
func (l *oldLine) promote() {
	l.t.Helper()
	postgrestest.Check(l.t, l.copy.Promote(l.t.Context()))
	postgrestest.Check(l.t, l.copy.WaitPromoted(l.t.Context()))
}
