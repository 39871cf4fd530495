// Package partition_test cuts the primary region off while it goes on to serve: clients write to it after another region has taken
// over. What they were told is committed must all be found in their own lineage later, whatever of the region comes back, and
// nothing of it may touch what serves meanwhile.
package partition_test

import (
	"testing"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/devenv/estate/estatetest"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// world is a group in use, whose primary region can be cut off.
type world struct {
	*estatetest.CutOff
	serves map[string]written // by workspace: the new lineage as it was before anything came back
}

// written is how far a lineage was, and the digest of all of it.
type written struct {
	lineage topology.Lineage
	at      wal.Position
	digest  archive.Sum
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{CutOff: estatetest.StartCutOff(t, estate.Options{Adopted: true, Managed: true, Megabytes: 5}), serves: map[string]written{}}
}

// takeOver fails the group over to the other region while the primary's clients go on writing, and lets something be written there.
func (w *world) takeOver() {
	w.Helper()
	w.TakeOver()
	for _, ws := range w.Status().Group.Workspaces {
		server := w.Server(ws.Name)
		w.Exec(server, estate.Database, "create table served_elsewhere as select g from generate_series(1, 100000) g")
		w.serves[ws.Name] = w.shipped(ws.Name, *ws.CurrentLineage(), server)
	}
}

// shipped waits until the secondary's bucket holds what the server has written by now.
func (w *world) shipped(workspace string, l topology.Lineage, server *postgres.Server) (at written) {
	w.Helper()
	end := w.Flushed(server)
	a := w.Archive(devenv.Secondary, workspace, l.ID)
	devtest.Until(w, "the new lineage of "+workspace+" to be shipped", func() bool {
		tip, err := a.Tip(w.Context(), l)
		at = written{l, tip.Position, tip.Digest}
		return err == nil && tip.Position.LSN >= end
	})
	return at
}

// checkUntouched compares the new lineages with what they were: not a byte of what was there is another one.
func (w *world) checkUntouched() {
	w.Helper()
	for name, before := range w.serves {
		a := w.Archive(devenv.Secondary, name, before.lineage.ID)
		tip, err := a.Tip(w.Context(), before.lineage)
		w.Check(err)
		if tip.Position == before.at {
			if tip.Digest != before.digest {
				w.Errorf("the new lineage of %s was changed", name)
			}
			continue
		}
		d, err := a.DigestAt(w.Context(), tip.Chain, before.at.LSN)
		w.Check(err)
		if d.Sum() != before.digest {
			w.Errorf("the new lineage of %s was changed before %s", name, before.at)
		}
	}
}

// tail returns what the catalog says of the tail of a workspace's old lineage.
func (w *world) tail(workspace string) topology.Tail {
	for _, s := range w.Status().Workspaces {
		for _, t := range s.Tails {
			if s.Workspace == workspace && t.Lineage == w.Left[workspace].ID {
				return t
			}
		}
	}
	return topology.Tail{}
}

// waitTail waits until a tail is as wanted, and shows what it came to if it does not.
func (w *world) waitTail(workspace, what string, wanted func(topology.Tail) bool) topology.Tail {
	w.Helper()
	var last topology.Tail
	defer func() {
		if !wanted(last) {
			w.Logf("the tail of %s is %+v", workspace, last)
		}
	}()
	devtest.Until(w, "the tail of "+workspace+" to be "+what, func() bool {
		last = w.tail(workspace)
		return wanted(last)
	})
	w.Logf("%s: %d transactions in %d bytes, from %s, up to %s", workspace, last.Commits, last.Bytes(), last.From, last.At)
	return last
}
