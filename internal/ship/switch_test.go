package ship

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// addStandby makes a standby of w's server and lets w's connection string find whichever of the two is writable.
func (w *world) addStandby() *devenv.Postgres {
	w.t.Helper()
	ctx := w.t.Context()
	must(w.t, w.pg.Restart(ctx)) // so that the copy is one of a server that crashed, without any backup
	must(w.t, w.pg.Kill(ctx))
	dir := devtest.Dir(w.t)
	out, err := exec.Command("cp", "-a", w.pg.InstanceDir(), filepath.Join(dir, "pg")).CombinedOutput()
	if err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	must(w.t, w.pg.Start(ctx))
	server := *w.pg.Server
	standby := &devenv.Postgres{Server: &server, PasswordFile: filepath.Join(dir, "pg", "superuser.password")}
	server.DataDir, server.SocketDir, server.LogFile = filepath.Join(dir, "pg/data"), filepath.Join(dir, "pg/socket"), filepath.Join(dir, "pg/postgresql.log")
	server.Port, err = devenv.FreePort()
	must(w.t, err)
	password, err := os.ReadFile(w.pg.PasswordFile)
	must(w.t, err)
	server.Settings = maps.Clone(w.pg.Settings) // which may have been a standby itself
	server.Settings["primary_conninfo"] = fmt.Sprintf("host=127.0.0.1 port=%d user=postgres password=%s sslmode=disable", w.pg.Port, strings.TrimSpace(string(password)))
	must(w.t, server.WriteStandbySignal())
	must(w.t, standby.Start(ctx))
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), devtest.Patience)
		defer cancel()
		_ = standby.Kill(ctx)
	})
	w.source = topology.Source{PasswordFile: w.pg.PasswordFile, ConnString: fmt.Sprintf(
		"postgresql://postgres@127.0.0.1:%d,127.0.0.1:%d/postgres?sslmode=disable&target_session_attrs=read-write", w.pg.Port, server.Port)}
	return standby
}

// replayed waits until the standby has everything up to l.
func (w *world) replayed(p *devenv.Postgres, l wal.LSN) {
	w.t.Helper()
	c, err := p.Open(w.t.Context(), "postgres")
	must(w.t, err)
	defer c.Close(context.Background())
	devtest.Until(w.t, "the standby has everything", func() bool {
		var ok bool
		must(w.t, c.QueryRow(w.t.Context(), "select coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false)", l.String()).Scan(&ok))
		return ok
	})
}

// takeOver kills the primary and makes the standby the writable server.
func (w *world) takeOver(standby *devenv.Postgres) {
	w.t.Helper()
	must(w.t, w.pg.Kill(w.t.Context()))
	must(w.t, standby.Promote(w.t.Context()))
	must(w.t, standby.WaitPromoted(w.t.Context()))
	w.pg = standby
}

func TestFollowsALocalFailover(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"wal_keep_size": "1GB"})
	standby := w.addStandby()
	s := w.ship(nil)
	end := w.write(20 << 20)
	w.replayed(standby, end)
	w.takeOver(standby)
	end = w.write(20 << 20)
	s.until("both buckets follow", func() bool { return s.reached(0, end) && s.reached(1, end) })
	s.end()
	for i := range 2 {
		tip := w.tip(i)
		if tip.Position.Timeline != 2 || len(tip.Line.History) != 1 || tip.Line.History[0].Timeline != 1 {
			t.Errorf("bucket %d is at %s on line %+v", i, tip.Position, tip.Line)
		}
		w.compare(i)
	}
}

// The standby that took over was behind what is stored: the path leaves the old timeline at the switch, and what lies
// beyond stays.
func TestFollowsALocalFailoverThatLostWAL(t *testing.T) {
	for _, name := range []string{"while it ships", "while it is away", "while a bucket is away"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, map[string]string{"wal_keep_size": "1GB"})
			standby := w.addStandby()
			s := w.ship(nil)
			end := w.write(4 << 20)
			w.replayed(standby, end)
			s.until("both hold everything", func() bool { return s.reached(0, end) && s.reached(1, end) })
			must(t, standby.Kill(t.Context()))
			beyond := w.write(4 << 20)
			s.until("both hold more than the standby", func() bool { return s.reached(0, beyond) && s.reached(1, beyond) })
			must(t, w.pg.Kill(t.Context()))
			revive := func() {}
			switch name {
			case "while it is away":
				s.end()
			case "while a bucket is away":
				revive = w.faults[0].Add(objectstore.Rule{Fail: fault.Newf(fault.Transient, "test", "dead")})
			}
			must(t, standby.Start(t.Context()))
			w.takeOver(standby)
			if name == "while it is away" {
				s = w.ship(nil)
			}
			end = w.write(1 << 20)
			s.until("a bucket follows", func() bool { return s.progress().Server.Timeline == 2 && s.reached(1, end) })
			revive()
			end = w.write(8 << 20)
			s.until("both buckets follow", func() bool { return s.reached(0, end) && s.reached(1, end) })
			s.end()
			for i := range 2 {
				tip := w.tip(i)
				if tip.Position.Timeline != 2 || tip.Line.History[0].LSN >= beyond {
					t.Errorf("bucket %d is at %s on line %+v", i, tip.Position, tip.Line)
				}
				w.compare(i)
			}
		})
	}
}

func TestAnOldPrimaryIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"wal_keep_size": "1GB"})
	old := w.pg
	standby := w.addStandby()
	s := w.ship(nil)
	w.replayed(standby, w.write(1<<20))
	w.takeOver(standby)
	end := w.write(1 << 20)
	s.until("both buckets follow", func() bool { return s.reached(0, end) && s.reached(1, end) })
	s.end()
	must(t, old.Start(t.Context()))
	w.source = old.Source("postgres")
	s = w.ship(nil)
	<-s.done
	if !fault.Is(s.err, fault.Diverged) || fault.HintOf(s.err) == "" {
		t.Errorf("shipping ended with %v", s.err)
	}
}
