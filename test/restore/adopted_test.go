package restore_test

import (
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

// TestInPlaceOfAnAdoptedServer replaces an adopted server, beside a workspace that is in use and must not notice. The old server stays fenced,
// also when it and the worker are started again, and when somebody lets clients in by hand.
func TestInPlaceOfAnAdoptedServer(t *testing.T) {
	w := newWorld(t, true)
	load := w.write()
	w.record(6)
	w.shipped()
	wanted, old := w.marks[3], w.env.Server.Server
	beside := w.Space(estate.Managed).Load()
	op := w.restoreInPlace(wanted)
	w.checkServes(wanted)
	w.checkBefore(load, op)
	w.more(beside, 40)
	for _, err := range beside.Errors() {
		t.Errorf("a client of the other workspace: %v", err)
	}
	w.checkFenced(old)
	check(t, old.Stop(t.Context(), postgres.Fast))
	check(t, old.Start(t.Context()))
	check(t, w.env.Regions[devenv.Primary].RestartWorkers(t.Context(), w.env.Temporal))
	w.checkFenced(old)
	devtest.Until(t, "somebody to let clients into the replaced server", func() bool { return w.open(old) })
	devtest.Until(t, "the replaced server to be fenced again", func() bool { return !w.letsIn(old) })
	check(t, w.WaitProtected(t.Context()))
}

// open takes a fence away by hand, and reports whether clients got in before the worker has set it again.
func (w *world) open(s *postgres.Server) bool {
	w.Helper()
	p := devenv.Postgres{Server: s}
	check(w, p.Exec(w.Context(), "postgres", "alter system reset all", "select pg_reload_conf()"))
	check(w, s.WriteHBA("host all all 127.0.0.0/8 scram-sha-256\n"))
	check(w, s.Reload(w.Context()))
	for until := time.Now().Add(2 * time.Second); time.Now().Before(until); pause(20 * time.Millisecond) {
		if w.letsIn(s) {
			return true
		}
	}
	return false
}

// checkFenced tries to get into a server as its clients did, for longer than workers take to look.
func (w *world) checkFenced(s *postgres.Server) {
	w.Helper()
	for until := time.Now().Add(12 * time.Second); time.Now().Before(until); pause(500 * time.Millisecond) {
		if w.letsIn(s) {
			w.Fatal("the server that was replaced lets clients in")
		}
	}
}

func (w *world) letsIn(s *postgres.Server) bool {
	conn, err := w.space.ConnectTo(w.Context(), topology.HostPort{Host: "127.0.0.1", Port: s.Port})
	if err != nil {
		return false
	}
	_, err = conn.Exec(w.Context(), "insert into transfers (id) values (gen_random_uuid()::text)")
	_ = conn.Close(w.Context())
	return err == nil
}
