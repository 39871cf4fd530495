// Package readiness finds out whether a failover would work now: from what the buckets hold, what the shippers and the
// hosts of the other region announced, and what was captured from the servers. It restores nothing and changes nothing
// but an object of its own, which it removes.
package readiness

import (
	"context"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// Inputs are what a check can ask. A field that is nil is not asked, and the check says so.
type Inputs struct {
	Catalog *catalog.Catalog
	Stores  map[string]objectstore.Store // root stores by region
	Group   string
	From    string // region that the check is made in; empty for a command line, which may be anywhere
	// Write tries to write to the buckets, too: for a worker, which must be able to. A command line only reads.
	Write bool
	// Temporal asks whether Temporal answers.
	Temporal func(context.Context) error
	Now      func() time.Time // default: time.Now
}

// Check looks at everything that a failover of a group would need. What cannot be looked at is a warning of its own, and no
// error. Errors are those of catalog.Load: then nothing at all is known of the group.
func Check(ctx context.Context, in Inputs) (topology.Readiness, error) {
	if in.Now == nil {
		in.Now = time.Now
	}
	l, err := in.Catalog.Load(ctx, in.Group)
	if err != nil {
		return topology.Readiness{}, err
	}
	f := gather(ctx, in, l.Group)
	items := judge(f)
	return topology.Readiness{
		Group: f.Group.Name, Epoch: f.Group.Epoch, To: f.To, CheckedAt: f.Now.UTC(), State: Worst(items), Items: items, Drift: drift(f),
	}, nil
}

var severity = []topology.ReadinessState{topology.ReadinessOK, topology.ReadinessWarning, topology.ReadinessBlocking}

// Worst returns the worst state of items; ok for none.
func Worst(items []topology.ReadinessItem) topology.ReadinessState {
	worst := 0
	for _, i := range items {
		worst = max(worst, slices.Index(severity, i.State))
	}
	return severity[worst]
}
