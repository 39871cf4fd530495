package fence_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fence"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
)

// step is how many messages lie between two cuts, so that all of it takes a minute; SMARTDR_TEST_FULL=1 cuts at each.
func step() int {
	if os.Getenv("SMARTDR_TEST_FULL") != "" {
		return 1
	}
	return 11
}

// Whoever fences or lifts may die after any word: another one ends at the same.
func TestFencingAndLiftingAreCutShort(t *testing.T) {
	w := newWorld(t, newest(t), nil)
	before := w.state()
	for cut := 2; ; cut += step() {
		p := newProxy(t, w, cut)
		ctx, cancel := context.WithTimeout(t.Context(), devtest.Patience)
		_, err := fence.Apply(ctx, p.source(), w.options("op-1"))
		whole := err == nil
		w.seen(cut)
		if r := w.apply(w.options("op-1")); r.Worth != topology.FenceProven || !w.inForce(w.options("op-1")) {
			t.Fatalf("fenced again after message %d: %+v", cut, r)
		}
		p = newProxy(t, w, cut)
		_, err = fence.Lift(ctx, p.source(), w.options("op-1"))
		cancel()
		w.seen(cut)
		w.lift("op-1")
		if diff := cmp.Diff(before, w.state()); diff != "" {
			t.Fatalf("lifted again after message %d: %s", cut, diff)
		}
		devtest.Until(t, "clients get in", func() bool {
			conn, err := w.as("app", "")
			if err == nil {
				_ = conn.Close(context.Background())
			}
			return err == nil
		})
		if whole && err == nil {
			t.Logf("it takes %d messages", cut)
			return
		}
	}
}

// seen checks that whoever reads access rules while they are a fence's, in force or not yet, can know it.
func (w world) seen(cut int) {
	w.Helper()
	conn := postgrestest.Open(w, w.server, "shop")
	defer conn.Close(context.Background())
	content, err := os.ReadFile(w.server.HBAFile())
	postgrestest.Check(w, err)
	if !strings.HasPrefix(string(content), "# Fenced") {
		return
	}
	on, err := fence.On(w.Context(), conn)
	postgrestest.Check(w, err)
	rows, err := conn.Query(w.Context(), "SELECT user_name FROM pg_hba_file_rules WHERE user_name IS NOT NULL")
	postgrestest.Check(w, err)
	users, err := pgx.CollectRows(rows, pgx.RowTo[[]string])
	postgrestest.Check(w, err)
	if named := slices.ContainsFunc(users, fence.Narrowed); !on || !named {
		w.Fatalf("cut at message %d the rules are the fence's; a reader sees that there is one: %t, and that the rules are its: %t", cut, on, named)
	}
}
