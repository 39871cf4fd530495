package fence_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fence"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// world is an adopted server as a user runs it: with roles, settings and access rules of its own, and SmartDR's role.
type world struct {
	testing.TB
	server *postgres.Server
	source topology.Source
}

// userRules are what the user wrote: with a comment, odd spaces, a group and no newline at the end.
const userRules = "# kept by hand\nhost  all   +clients 127.0.0.1/32\ttrust\nhost all \"smartdr\",owner 127.0.0.1 255.255.255.255 trust # ours\n" +
	"host all postgres samehost trust\nlocal all all trust\nhost replication smartdr,all 127.0.0.1/32 trust"

func newWorld(t testing.TB, bin postgres.Binaries, settings map[string]string) world {
	t.Helper()
	s := postgrestest.Start(t, bin, settings)
	postgrestest.Exec(t, s, "postgres", `CREATE ROLE clients; CREATE ROLE app LOGIN IN ROLE clients; CREATE ROLE owner LOGIN;
		CREATE ROLE smartdr SUPERUSER LOGIN REPLICATION`)
	postgrestest.Exec(t, s, "postgres", `CREATE DATABASE shop OWNER owner`)
	postgrestest.Exec(t, s, "shop", `CREATE TABLE t (n bigint PRIMARY KEY, at timestamptz DEFAULT now()); GRANT ALL ON t TO app, owner;
		CREATE TABLE other (n bigint); GRANT ALL ON other TO app, owner`)
	w := world{TB: t, server: s}
	w.writeRules(userRules)
	w.source = topology.Source{ConnString: fmt.Sprintf("host=127.0.0.1 port=%d user=smartdr dbname=shop sslmode=disable", s.Port)}
	return w
}

func (w world) writeRules(rules string) {
	w.Helper()
	if err := os.WriteFile(w.server.HBAFile(), []byte(rules), 0o600); err != nil {
		w.Fatal(err)
	}
	postgrestest.Check(w, w.server.Own(w.server.HBAFile()))
	if _, running := w.server.Running(context.Background()); running {
		postgrestest.Check(w, w.server.Reload(context.Background()))
		devtest.Until(w, "new rules", func() bool {
			conn, err := w.as("app", "application_name=app")
			if err == nil {
				_ = conn.Close(context.Background())
			}
			return err == nil
		})
	}
}

// as connects over TCP.
func (w world) as(role, more string) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), devtest.Patience)
	defer cancel()
	return pgx.Connect(ctx, fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=shop sslmode=disable %s", w.server.Port, role, more))
}

func (w world) mustAs(role, more string) *pgx.Conn {
	w.Helper()
	conn, err := w.as(role, more)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// refused fails unless nobody gets in that ought not to.
func (w world) refused() {
	w.Helper()
	for _, who := range [][2]string{{"app", ""}, {"owner", ""}, {"postgres", ""}, {"smartdr", ""}, {"app", "replication=database"}, {"smartdr", "replication=database"},
		{"postgres", "options='-c session_preload_libraries='"}} {
		conn, err := w.as(who[0], who[1])
		if err == nil {
			_ = conn.Close(context.Background())
			if who[1] == "replication=database" && who[0] == "smartdr" {
				continue
			}
			w.Errorf("%s got in over TCP %s", who[0], who[1])
		}
	}
}

func (w world) lineage() topology.Lineage {
	return topology.Lineage{ID: "0001-aaaaaaaa", Epoch: 1, SystemID: postgrestest.Query(w, w.server, "postgres", "SELECT system_identifier FROM pg_control_system()")}
}

func (w world) options(by string) fence.Options { return fence.Options{Lineage: w.lineage(), By: by} }

func (w world) apply(o fence.Options) fence.Result {
	w.Helper()
	r, err := fence.Apply(context.Background(), w.source, o)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { r.Close(context.Background()) })
	return r
}

// guarded guards a fence for a while.
func (w world) guarded(r fence.Result, during time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), during)
	defer cancel()
	return r.Guard(ctx, w.source)
}

// state is everything that a lift must bring back.
func (w world) state() string {
	w.Helper()
	hba, err := os.ReadFile(w.server.HBAFile())
	postgrestest.Check(w, err)
	auto, err := os.ReadFile(filepath.Join(w.server.DataDir, "postgresql.auto.conf"))
	postgrestest.Check(w, err)
	return string(hba) + "\n----\n" + string(auto)
}

// writer writes numbers one after the other and remembers those that were acknowledged. It comes back at once when it is sent
// away.
type writer struct {
	world
	role, statement string
	mu              sync.Mutex
	acked           []int64
	failed          int // attempts to connect or to commit
	stop            context.CancelFunc
	done            chan struct{}
}

func (w world) write(role string, from int64, begin string) *writer {
	ctx, cancel := context.WithCancel(context.Background())
	l := &writer{world: w, role: role, statement: begin, stop: cancel, done: make(chan struct{})}
	go l.run(ctx, from)
	w.Cleanup(l.end)
	return l
}

func (l *writer) end() { l.stop(); <-l.done }

func (l *writer) run(ctx context.Context, n int64) {
	defer close(l.done)
	for ctx.Err() == nil {
		conn, err := l.as(l.role, "application_name=writer")
		if err != nil {
			l.fail()
			continue
		}
		for ; ctx.Err() == nil; n++ {
			if l.one(ctx, conn, n) != nil {
				n++ // it may have been committed: never the same again
				l.fail()
				break
			}
			l.mu.Lock()
			l.acked = append(l.acked, n)
			l.mu.Unlock()
		}
		_ = conn.Close(context.Background())
	}
}

func (l *writer) one(ctx context.Context, conn *pgx.Conn, n int64) error {
	for _, sql := range []string{l.statement, fmt.Sprintf("INSERT INTO t VALUES (%d)", n), "COMMIT"} {
		if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			var refused *pgconn.PgError
			if errors.As(err, &refused) && refused.Code == "25006" { // read-only
				_, _ = conn.Exec(ctx, "ROLLBACK")
			}
			return err
		}
	}
	return nil
}

func (l *writer) fail() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed++
}

// fails waits until it has failed so many times since now: what it was told before is noted then.
func (l *writer) fails(n int) {
	l.Helper()
	failed := func() int { l.mu.Lock(); defer l.mu.Unlock(); return l.failed }
	want := failed() + n
	devtest.Until(l, l.role+" tries in vain", func() bool { return failed() >= want })
}

func (l *writer) acknowledged() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]int64{}, l.acked...)
}

func (l *writer) wait(n int) {
	l.Helper()
	devtest.Until(l, fmt.Sprintf("%s writes", l.role), func() bool { return len(l.acknowledged()) >= n })
}

// copyUpTo makes a copy of the server that has replayed exactly to a position: what a switchover would promote.
func position(t testing.TB, text string) wal.LSN {
	t.Helper()
	l, err := wal.ParseLSN(text)
	postgrestest.Check(t, err)
	return l
}

func contains(all []string, part string) bool {
	for _, s := range all {
		if strings.Contains(s, part) {
			return true
		}
	}
	return false
}
