// Package timeline_test shows what can be restored of a group that is replicated, and finds the moment at which rows went away, by the
// command line alone.
package timeline_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/wal"
	"github.com/smartdr/smartdr/workflows"
)

type world struct {
	t   *testing.T
	env *devenv.Env
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	majors, err := devenv.Majors()
	check(t, err)
	env, err := devenv.StartEnv(t.Context(), devenv.EnvOptions{Dir: filepath.Join(devtest.Dir(t), "env"), NoUI: true, Major: majors[len(majors)-1],
		Settings: map[string]string{"track_commit_timestamp": "on"}})
	check(t, err)
	t.Cleanup(func() { devtest.End(t, env) })
	w := &world{t, env}
	w.sql("postgres", "create database app")
	w.sql("app", "create table orders (n int primary key)", "create table noise (n int)")
	w.smartdr("group", "create", "-f", env.GroupPath())
	w.smartdr("configure", "--group", devenv.GroupName, "--secondary", devenv.Secondary, "--wait", "--timeout", devtest.Patience.String())
	return w
}

func (w *world) sql(database string, statements ...string) {
	w.t.Helper()
	for _, s := range statements { // each in a transaction of its own
		check(w.t, w.env.Server.Exec(w.t.Context(), database, s))
	}
}

func (w *world) ask(query string) (text string) {
	w.t.Helper()
	conn, err := w.env.Server.Open(w.t.Context(), "app")
	check(w.t, err)
	defer conn.Close(w.t.Context())
	check(w.t, conn.QueryRow(w.t.Context(), "select ("+query+")::text").Scan(&text))
	return text
}

func (w *world) smartdr(args ...string) string {
	w.t.Helper()
	out, err := w.env.SmartDR(w.t.Context(), args...)
	check(w.t, err)
	return out
}

func (w *world) timeline(args ...string) (t api.Timelines) {
	w.t.Helper()
	out := w.smartdr(append([]string{"timeline", "--group", devenv.GroupName, "-o", "json"}, args...)...)
	check(w.t, json.Unmarshal([]byte(out), &t))
	return t
}

// reaches reports whether both regions' windows reach an LSN.
func (w *world) reaches(l wal.LSN) bool {
	n := 0
	for _, t := range w.timeline().Timelines {
		if k := len(t.Windows); k > 0 && t.Windows[k-1].To.LSN >= l {
			n++
		}
	}
	return n == 2
}

// strike kills the worker that searches, in the midst of it, and starts another one.
func (w *world) strike(r *devenv.Region) error {
	for end := time.Now().Add(devtest.Patience); ; time.Sleep(20 * time.Millisecond) {
		running, err := filepath.Glob(filepath.Join(r.DataDir(), ".searches", "*", "data", "postmaster.pid"))
		if err != nil {
			return err
		}
		if len(running) > 0 {
			break
		}
		if time.Now().After(end) {
			return errors.New("no search has brought up a server")
		}
	}
	if err := r.Worker.Kill(); err != nil {
		return err
	}
	return r.StartWorker(w.t.Context(), w.env.Temporal)
}

// nothingLeft looks for what searches make on hosts.
func (w *world) nothingLeft() {
	w.t.Helper()
	met := false
	check(w.t, filepath.WalkDir(w.env.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it went away meanwhile
		}
		met = met || d.Name() == ".searches"
		if filepath.Base(filepath.Dir(path)) == ".searches" {
			w.t.Errorf("left behind: %s", path)
			return fs.SkipDir
		}
		return nil
	}))
	if !met {
		w.t.Error("no host has made a folder for a search: look for it elsewhere")
	}
}

// The timeline follows what is shipped, in both regions and with one of them away, and a search finds the very transaction that removed a
// row among hundreds, also when the worker that looks for it is killed, leaving nothing behind.
func TestTimelineAndSearch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sql("app", "insert into orders values (7)")
	noise := func() {
		for n := range 60 {
			w.sql("app", fmt.Sprintf("insert into noise values (%d)", n))
		}
	}
	noise()
	xid := ""
	{
		conn, err := w.env.Server.Open(t.Context(), "app")
		check(t, err)
		tx, err := conn.Begin(t.Context())
		check(t, err)
		_, err = tx.Exec(t.Context(), "delete from orders where n = 7")
		check(t, err)
		check(t, tx.QueryRow(t.Context(), "select pg_current_xact_id()::text").Scan(&xid))
		check(t, tx.Commit(t.Context()))
		check(t, conn.Close(t.Context()))
	}
	noise()
	w.sql("postgres", "select pg_create_restore_point('before-release')")
	w.sql("app", "insert into noise values (0)")
	end, err := wal.ParseLSN(w.ask("pg_current_wal_flush_lsn()"))
	check(t, err)
	devtest.Until(t, "everything to be shipped", func() bool { return w.reaches(end) })

	all := w.timeline("--restore-points")
	if len(all.Points) != 2 || all.Points[0].Name != "before-release" || len(all.Notes) != 0 {
		t.Errorf("restore points %+v, notes %q", all.Points, all.Notes)
	}
	for _, line := range all.Timelines {
		if len(line.Windows) != 1 || len(line.Gaps) != 0 || line.Windows[0].Of != "serves" || !line.Windows[0].FromTime.Before(line.Windows[0].ToTime) {
			t.Errorf("%+v", line)
		}
	}
	t.Log("\n" + w.smartdr("timeline", "--group", devenv.GroupName))

	region := w.env.Regions[devenv.Primary]
	struck := make(chan error, 1)
	go func() { struck <- w.strike(region) }()
	out := w.smartdr("timeline", "search", "--group", devenv.GroupName, "--database", "app", "--query", "select from orders where n = 7", "-o", "json")
	check(t, <-struck)
	var found workflows.SearchResult
	check(t, json.Unmarshal([]byte(out), &found))
	if !found.Found || fmt.Sprint(found.NextXID) != xid || !found.LastTime.Before(found.NextTime) {
		t.Errorf("transaction %s removed the row, found %+v", xid, found)
	}
	w.nothingLeft()
	if out, err := w.env.SmartDR(t.Context(), "timeline", "search", "--group", devenv.GroupName, "--database", "app", "--query", "delete from noise"); err == nil {
		t.Errorf("a search that deletes: %s", out)
	}

	check(t, w.env.Regions[devenv.Primary].Gateway.Kill())
	one := w.timeline()
	if len(one.Timelines) != 1 || len(one.Notes) != 1 || !strings.Contains(one.Notes[0], devenv.Primary) {
		t.Errorf("with a bucket away: %+v, notes %q", one.Timelines, one.Notes)
	}
}
