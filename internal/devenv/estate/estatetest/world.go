// Package estatetest lets tests use an estate: its methods wait and fail the test, where the estate's own return errors.
package estatetest

import (
	"context"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

// ClientsPause is how long a client rests between two transfers. A few dozen of these a second are enough for every test; each costs the
// client, the server, the shipper and both buckets.
const ClientsPause = 20 * time.Millisecond

// World is two regions with a group in use.
type World struct {
	*devtest.World
	In *estate.Estate
}

// Start starts two regions with a group that is protected. All of it ends with the test.
func Start(t *testing.T, env devenv.EnvOptions, o estate.Options) *World {
	t.Helper()
	w := &World{World: devtest.StartWorld(t, env)}
	t.Cleanup(func() { // before the servers end
		if w.In != nil {
			w.In.Stop()
		}
	})
	var err error
	w.In, err = estate.New(t.Context(), w.Env, o)
	w.Check(err)
	w.WaitProtected()
	return w
}

// On returns the same world for a case of the test.
func (w *World) On(t *testing.T) *World { return &World{World: w.World.On(t), In: w.In} }

// Space returns the workspace of that name.
func (w *World) Space(name string) *estate.Space {
	w.Helper()
	s := w.In.Space(name)
	if s == nil {
		w.Fatalf("there is no workspace %q", name)
	}
	return s
}

// Server returns the server that serves a workspace: the one that was adopted, or one that SmartDR runs.
func (w *World) Server(workspace string) *postgres.Server {
	w.Helper()
	g := w.Status().Group
	if ws := g.Workspace(workspace); ws != nil && ws.Sites[g.Active].Kind == topology.Adopted {
		return w.Env.Server.Server
	}
	s, err := w.In.Server(w.Context(), workspace)
	w.Check(err)
	return s
}

// More waits until a load has n more commits acknowledged.
func (w *World) More(l *ledger.Load, n int) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), devtest.Patience)
	defer cancel()
	w.Check(l.More(ctx, n))
}

// Operate carries out an operation, which must complete.
func (w *World) Operate(kind string, flags ...string) topology.Operation {
	w.Helper()
	op, err := w.In.Operate(w.Context(), kind, flags...)
	w.Check(err)
	return op
}

// WaitProtected waits until a failover of the group as it serves now would work.
func (w *World) WaitProtected() {
	w.Helper()
	w.Check(w.In.WaitProtected(w.Context()))
}
