package ledger_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/wal"
)

// TestRoamingSessionsGoOn kills the server twice under several sessions: they find it again, and nothing that was acknowledged is
// missing, half there, or there twice.
func TestRoamingSessionsGoOn(t *testing.T) {
	p := devtest.Postgres(t, devenv.PostgresOptions{})
	connect := func(ctx context.Context) (*pgx.Conn, error) { return p.Open(ctx, "postgres") }
	conn, err := connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := ledger.Setup(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	l := ledger.Roam(t.Context(), connect, ledger.Options{Writers: 3, Name: "r", Pause: time.Millisecond})
	defer l.Stop()
	for range 2 {
		more(t, l, 50)
		if err := p.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	more(t, l, 50)
	l.Stop()
	if conn, err = connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // only read from
	a, err := ledger.VerifyMoves(t.Context(), conn, l.Commits(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Broken) > 0 || a.Kept != len(l.Commits()) {
		t.Errorf("%d of %d commits are there: %v", a.Kept, len(l.Commits()), a.Broken)
	}
	if len(l.Errors()) < 6 {
		t.Errorf("three sessions lost their server twice, and only %d noticed", len(l.Errors()))
	}
	if gaps := ledger.Gaps(l.Commits()); len(gaps) != 0 {
		t.Errorf("one server makes no gap between two: %+v", gaps)
	}
}

func more(t *testing.T, l *ledger.Load, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), devtest.Patience)
	defer cancel()
	if err := l.More(ctx, n); err != nil {
		t.Fatal(err)
	}
}

// TestWhatAServerFlushedHoldsWhatItAcknowledged kills the server while another session inserts WAL that nobody asks to be flushed: what
// the server told up to then lies before the end that it has after its recovery.
func TestWhatAServerFlushedHoldsWhatItAcknowledged(t *testing.T) {
	p := devtest.Postgres(t, devenv.PostgresOptions{Settings: map[string]string{"wal_writer_delay": "10s"}})
	connect := func(ctx context.Context) (*pgx.Conn, error) { return p.Open(ctx, "postgres") }
	conn, err := connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := ledger.Setup(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Start(t.Context(), connect, ledger.Options{Name: "f", Pause: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var other sync.WaitGroup
	other.Go(func() { scribble(conn) })
	more(t, l, 8)
	if err := p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.Wait()
	other.Wait()
	lost := ledger.Lost{Commits: l.Commits()}
	if missing := lost.OutsideOf(recoveredTo(t, p)); len(missing) > 0 {
		t.Errorf("acknowledged, and not before the server's end: %+v", missing)
	}
}

// scribble inserts in one transaction until the server is gone.
func scribble(conn *pgx.Conn) {
	ctx := context.Background()
	for _, sql := range []string{"create table scribbles (n int)", "begin"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return
		}
	}
	for {
		if _, err := conn.Exec(ctx, "insert into scribbles values (1)"); err != nil {
			return // the server was killed
		}
	}
}

// recoveredTo is where a server's recovery ended: its first checkpoint begins there.
func recoveredTo(t *testing.T, p *devenv.Postgres) wal.LSN {
	t.Helper()
	conn, err := p.Open(t.Context(), "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // only read from
	var text string
	if err := conn.QueryRow(t.Context(), "select redo_lsn::text from pg_control_checkpoint()").Scan(&text); err != nil {
		t.Fatal(err)
	}
	end, err := wal.ParseLSN(text)
	if err != nil {
		t.Fatal(err)
	}
	return end
}
