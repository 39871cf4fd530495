package ledger_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
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
		devtest.Within(t, 20*time.Second, "50 more commits", more(l, 50))
		if err := p.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	devtest.Within(t, 20*time.Second, "50 more commits", more(l, 50))
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

func more(l *ledger.Load, n int) func() bool {
	want := len(l.Commits()) + n
	return func() bool { return len(l.Commits()) >= want }
}
