package fence_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/fence"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
)

func TestAFencedServerLetsNobodyIn(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		w := newWorld(t, bin, nil)
		before := w.state()
		r := w.apply(w.options("op-1"))
		if r.Worth != topology.FenceProven || r.End.LSN == 0 || r.End.Timeline != 1 {
			t.Errorf("worth %s (%s), end %s, means %q", r.Worth, r.Reason, r.End, r.Means)
		}
		if r.DataDir != w.server.DataDir {
			t.Errorf("its files are in %q, and were fenced in %q", w.server.DataDir, r.DataDir)
		}
		w.refused()
		for _, mode := range []postgres.StopMode{postgres.Fast, postgres.Immediate} {
			postgrestest.Check(t, w.server.Stop(context.Background(), mode))
			postgrestest.Check(t, w.server.Start(context.Background()))
			w.refused()
		}
		local := postgrestest.Open(t, w.server, "shop") // a superuser of the host that means to
		defer local.Close(context.Background())
		if got := w.guarded(r, 1500*time.Millisecond); got != nil {
			t.Error(got)
		}
		if err := local.Ping(t.Context()); err != nil {
			t.Errorf("the host's own superuser was sent away: %v", err)
		}
		if in, err := fence.Check(context.Background(), w.source, w.options("op-1")); !in || err != nil {
			t.Errorf("in force: %t, %v", in, err)
		}
		if note, err := fence.Lift(context.Background(), w.source, w.options("op-1")); err != nil || note != "" {
			t.Fatal(note, err)
		}
		if diff := cmp.Diff(before, w.state()); diff != "" {
			t.Error(diff)
		}
		for _, role := range []string{"app", "owner", "postgres"} {
			w.mustAs(role, "")
		}
	})
}
