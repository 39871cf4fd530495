package missingrows_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/wal"
)

// TestMissingRowsAreMerged lets a cut-off primary acknowledge commits that no failover could have, and merges them into what serves, as they arrive in
// two instalments, while clients go on writing there. The worker that does it is killed twice.
func TestMissingRowsAreMerged(t *testing.T) {
	w := newWorld(t)
	first := w.loseRegion()
	w.checkMissing(first)
	w.waitBehind(first)
	found := w.missing(w.killReader)
	w.checkFound(found)
	if n := w.ask("select count(*)::text from notes where text = 'old'"); n != "0" {
		t.Errorf("a comparison has changed %s rows", n)
	}
	if devtest.Full() {
		whole := w.missing(nil, "--full")
		if diff := cmp.Diff(found.Databases[0].Summary.Classes, whole.Databases[0].Summary.Classes); diff != "" || !whole.Databases[0].Summary.Whole {
			t.Errorf("compared as a whole: %v %s", whole.Databases[0].Summary.Whole, diff)
		}
	}
	merged := w.missing(w.killMerger, "--apply", "--yes")
	w.checkMerged(merged, first)
	again := w.missing(nil, "--apply", "--yes")
	if n := again.Databases[0].Summary.Applied; n != 0 {
		t.Errorf("merged again, it applied %d changes", n)
	}
	w.late()
	w.keepsWAL()
	w.nothingLeft()
	w.checkEvents()
}

// late lets the rest of the old region come back, and merges what its server had not shipped.
func (w *world) late() {
	w.Helper()
	all := w.stuck.Commits()
	w.Check(w.Env.Regions[devenv.Primary].StartWorker(w.Context(), w.Env.Temporal))
	w.waitBehind(all)
	devtest.Until(w, "all of it to arrive", func() bool { return w.waits().Complete })
	if waits := w.waits(); waits.NothingMissing() || waits.Commits < 40 || waits.Bytes == 0 {
		w.Errorf("more has arrived, and the catalog says %+v", waits)
	}
	w.checkMerged(w.missing(nil, "--apply", "--yes"), all)
}

func (w *world) waitBehind(commits []ledger.Commit) {
	w.Helper()
	devtest.Until(w, "what was written to arrive", func() bool { return w.behind().Detached.At.LSN >= ledger.End(commits) })
}

// missing runs the command, with what is to happen meanwhile. Exit codes that say what is left are no errors.
func (w *world) missing(meanwhile func() error, args ...string) (m api.MissingRows) {
	w.Helper()
	struck := make(chan error, 1)
	go func() {
		if meanwhile == nil {
			struck <- nil
			return
		}
		struck <- meanwhile()
	}()
	out, err := w.Env.SmartDR(w.Context(), append([]string{"missing-rows", "--group", estate.Group, "-o", "json"}, args...)...)
	w.Check(errors.Join(<-struck))
	if jsonErr := json.Unmarshal([]byte(out), &m); jsonErr != nil || len(m.Databases) != 1 {
		w.Fatalf("%v: %s", errors.Join(err, jsonErr), out)
	}
	if e := m.Databases[0].Error; e != "" {
		w.Fatalf("%s %s", e, m.Databases[0].Hint)
	}
	w.Logf("%v: %+v", args, m.Databases[0].Summary.Classes)
	return m
}

// killReader kills the worker when the copy runs, and starts another one.
func (w *world) killReader() error {
	r := w.Env.Regions[devenv.Secondary]
	running := func() bool {
		pids, err := filepath.Glob(filepath.Join(r.DataDir(), ".missing", "*", "*", "copy", "data", "postmaster.pid"))
		return err == nil && len(pids) > 0
	}
	return w.kill(r, running)
}

// killMerger kills the worker while a merge waits for a row that somebody holds, and starts another one.
func (w *world) killMerger() error {
	ctx := context.WithoutCancel(w.Context())
	holder, err := w.new.Open(ctx, estate.Database)
	if err != nil {
		return err
	}
	defer holder.Close(ctx) //nolint:errcheck // all was said
	if _, err := holder.Exec(ctx, "begin; select from notes where id = 2 for update"); err != nil {
		return err
	}
	look, err := w.new.Open(ctx, estate.Database)
	if err != nil {
		return err
	}
	defer look.Close(ctx) //nolint:errcheck // only read from
	waits := func() bool {
		var n int
		err := look.QueryRow(ctx, "select count(*) from pg_locks where not granted").Scan(&n)
		return err == nil && n > 0
	}
	if err := w.kill(w.Env.Regions[devenv.Secondary], waits); err != nil {
		return err
	}
	_, err = holder.Exec(ctx, "rollback")
	return err
}

func (w *world) kill(r *devenv.Region, when func() bool) error {
	for end := time.Now().Add(devtest.Patience); !when(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			return errors.New("what was to be killed in the midst of it never came so far")
		}
	}
	if err := r.Worker.Kill(); err != nil {
		return err
	}
	return r.StartWorker(context.WithoutCancel(w.Context()), w.Env.Temporal)
}

// verify compares what serves with what the clients of the old server were told.
func (w *world) verify(commits []ledger.Commit, recovered wal.LSN) ledger.Report {
	w.Helper()
	r, err := ledger.Verify(w.Context(), w.Connect(w.new, estate.Database), commits, recovered, time.Now())
	w.Check(err)
	return r
}

func (w *world) checkMissing(commits []ledger.Commit) {
	w.Helper()
	if r := w.verify(commits, 0); r.Kept == 0 || r.Kept == len(commits) || len(commits) < 60 {
		w.Fatalf("%d of %d commits are missing: the primary was not cut off in the middle", len(commits)-r.Kept, len(commits))
	}
}

// checkFound: one row was changed on both sides, and all else is missing and could be merged.
func (w *world) checkFound(m api.MissingRows) {
	w.Helper()
	s := m.Databases[0].Summary
	if s.Conflicts != 1 || s.Classes[missing.BothUpdated] != 1 || s.Classes[missing.Missing] < 100 || s.Transactions < 40 {
		w.Errorf("found %+v", s)
	}
	out, err := w.Env.SmartDR(w.Context(), "missing-rows", "--group", estate.Group, "--class", string(missing.BothUpdated))
	if !strings.Contains(out, "old") || !strings.Contains(out, "new") {
		w.Errorf("the conflict is not shown: %v\n%s", err, out)
	}
}

// checkMerged: every commit that was acknowledged on either side is there, and the catalog knows.
func (w *world) checkMerged(m api.MissingRows, commits []ledger.Commit) {
	w.Helper()
	s := m.Databases[0].Summary
	if s.Applied < 100 || s.Conflicts > 1 || s.XID == 0 || m.Databases[0].Undo == "" {
		w.Errorf("merged %+v, undone by %q", s, m.Databases[0].Undo)
	}
	r := w.verify(commits, ^wal.LSN(0))
	for _, b := range r.Broken {
		w.Error(b)
	}
	if r.Kept != len(commits) {
		w.Errorf("%d of %d acknowledged commits are there", r.Kept, len(commits))
	}
	if got, want := w.ask("select string_agg(id || text, ' ' order by id) from notes"), "1new 3new 4old"; got != want {
		w.Errorf("the notes are %q, want %q", got, want)
	}
	if got := w.ask("select string_agg(id || text, ' ' order by id) from held"); got != "1after 2after" {
		w.Errorf("a transaction that was open at the fork has left %q", got)
	}
	waits := w.waits()
	if waits.Merged == nil || waits.Commits != 0 || waits.Bytes != 0 || waits.Merged.Commits < 40 || waits.Merged.Applied != s.Applied {
		w.Errorf("the catalog says %+v of a merge %+v", waits, waits.Merged)
	}
}

// checkEvents: the clients of what serves were never disturbed.
func (w *world) checkEvents() {
	w.Helper()
	n, err := w.fresh.end()
	w.Check(err)
	there, err := strconv.Atoi(w.ask("select count(*)::text from events where client = 'new'"))
	w.Check(err)
	if n < 10 || there < n {
		w.Errorf("%d rows were acknowledged, and %d are there", n, there)
	}
}

// nothingLeft looks for what comparisons make on hosts.
func (w *world) nothingLeft() {
	w.Helper()
	met := false
	w.Check(filepath.WalkDir(w.Env.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it went away meanwhile
		}
		if d.Name() != ".missing" {
			return nil
		}
		met = true
		left, err := filepath.Glob(filepath.Join(path, "*", "*"))
		if len(left) > 0 || err != nil {
			w.Errorf("left behind: %v %v", left, err)
		}
		return fs.SkipDir
	}))
	if !met {
		w.Error("no host has made a folder for a comparison: look for it elsewhere")
	}
	log, err := os.ReadFile(filepath.Join(w.Env.Dir, "regions", devenv.Secondary, "worker.log"))
	if err != nil || !bytes.Contains(log, []byte("the copy is promoted where it is read")) {
		w.Errorf("a table was locked at the fork, and the copy was not promoted there: %v", err)
	}
}
