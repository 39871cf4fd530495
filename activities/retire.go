package activities

import (
	"context"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

const (
	// tailWithin is how long a server that is fenced runs on at most before it is stopped, so that the last of its WAL is
	// brought home from it. What is not by then is brought from its files.
	tailWithin = 15 * time.Second
	// askTail is how often it is asked how far that is.
	askTail = 500 * time.Millisecond
)

// RetireServer stops a managed server whose epoch is over, and keeps its files: they are what the way back begins with.
func (t *Target) RetireServer(ctx context.Context, in RetireInput) (PhaseResult, error) {
	p := beat(ctx)
	defer p.end()
	err := t.retire(ctx, in)
	return PhaseResult{Note: "stopped; its files are kept on " + t.Host}, judge(ctx, describe(err, "the server of workspace %s in %s", in.Workspace, in.Region))
}

func (t *Target) retire(ctx context.Context, in RetireInput) error {
	o, err := t.retiring(ctx, in)
	if err != nil {
		return err
	}
	t.awaitTail(ctx, in, tailWithin)
	if err := stopInstance(ctx, in.Instance); err != nil {
		return err
	}
	o.Retired = true
	return writeState(in.Instance, ownerFile, o)
}

// retiring makes sure that a server does not serve: another one has a newer epoch.
func (t *Target) retiring(ctx context.Context, in RetireInput) (o owner, err error) {
	found, err := readState(in.Instance, ownerFile, &o)
	if err != nil || !found {
		return o, errorsOr(err, fault.Newf(fault.Missing, "retire server", "%s is not there", in.Instance))
	}
	if o.Group != in.Group || o.Workspace != in.Workspace {
		return o, fault.Newf(fault.Diverged, "retire server", "%s belongs to workspace %s of %s", in.Instance, o.Workspace, o.Group)
	}
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return o, err
	}
	if g := loaded.Group; g.Active == in.Region || g.Epoch <= in.Epoch {
		return o, fault.Newf(fault.Invalid, "retire server", "region %s serves group %s at epoch %d", g.Active, g.Name, g.Epoch)
	}
	return o, nil
}

// awaitTail waits for a while until all that a server wrote is in a bucket, and reports whether it is.
func (t *Target) awaitTail(ctx context.Context, in RetireInput, within time.Duration) bool {
	for end := time.Now().Add(within); ; pauseFor(ctx, askTail) {
		loaded, err := t.Catalog.Load(ctx, in.Group)
		done := false
		if err == nil {
			done, err = t.tailComplete(ctx, loaded.Group, in)
		}
		if err != nil && !fault.Is(err, fault.Missing) && ctx.Err() == nil {
			t.Log.WarnContext(ctx, "how far the tail of a retired server is is not known", "error", err)
		}
		if done || time.Now().After(end) || ctx.Err() != nil {
			return done
		}
	}
}

// tailComplete reports whether nothing of what the server of an epoch wrote is missing in the buckets.
func (t *Target) tailComplete(ctx context.Context, g topology.Group, in RetireInput) (bool, error) {
	known := false
	for _, left := range g.LeftLineages() {
		if left.Workspace != in.Workspace || left.Lineage.Epoch != in.Epoch || left.Lineage.Region != in.Region {
			continue
		}
		known = true
		tail, err := t.Catalog.Tail(ctx, g.Name, in.Workspace, left.Lineage.ID)
		if err != nil || !tail.Complete {
			return false, err
		}
	}
	return known, nil
}
