package activities

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/hook"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/ship"
	"github.com/smartdr/smartdr/internal/telemetry"
	"github.com/smartdr/smartdr/internal/topology"
)

// Site is what all activities of a worker share: the region it runs in and the buckets of all regions.
type Site struct {
	Region string
	Host   string // this machine's name among the region's hosts
	// Controller is the ID of the control plane that this worker works for; empty: it acts for every group.
	Controller string
	Stores     map[string]objectstore.Store // root stores by region; every region of the configuration
	Catalog    *catalog.Catalog
	Metrics    *telemetry.Metrics // nil: nobody is told
	Hooks      []hook.Hook        // of this worker's configuration
	Log        *slog.Logger
}

// Hosting is what a region needs to run servers of its own.
type Hosting struct {
	DataDir       string   // folder for instances
	Listen        string   // address that servers listen on
	AdvertiseHost string   // name or address that clients use
	FirstPort     int      // of the range for servers
	LastPort      int      // inclusive
	BinDirs       []string // where PostgreSQL's programs are, besides the usual places
	MemoryBytes   int64    // capacity for servers; 0: all that the machine has
	CPUs          float64  // likewise
}

// store returns a region's bucket.
func (s *Site) store(region string) (objectstore.Store, error) {
	if store := s.Stores[region]; store != nil {
		return store, nil
	}
	return nil, fault.Newf(fault.Invalid, "open bucket", "region %q is not in the configuration of the worker in %q", region, s.Region).
		WithHint("add it to the worker's smartdr.yaml")
}

// destinations returns the buckets that a workspace of g is shipped to, the local one first. A region that is lost and that
// this worker was never told of keeps nobody from shipping to the other: the status says that nothing arrives there.
func (s *Site) destinations(g topology.Group) ([]ship.Destination, error) {
	var to []ship.Destination
	for _, region := range slices.Compact([]string{g.Active, g.Other(g.Active)}) {
		if region == "" {
			continue
		}
		store, err := s.store(region)
		if err != nil && region != s.Region {
			s.Log.Warn("nothing is shipped to a region that is not in this worker's configuration", "group", g.Name, "region", region)
			continue
		}
		if err != nil {
			return nil, err
		}
		to = append(to, ship.Destination{Region: region, Store: store})
	}
	return to, nil
}

// subject is a workspace under the epoch that an activity was ordered for.
type subject struct {
	group     topology.Group
	workspace topology.Workspace
	source    topology.Source
	to        []ship.Destination
}

// subject reads the workspace from the catalog. fault.Fenced means that the epoch is over.
func (s *Site) subject(ctx context.Context, in SourceInput) (subject, error) {
	loaded, err := s.Catalog.Load(ctx, in.Group)
	if err != nil {
		return subject{}, err
	}
	g := loaded.Group
	if err := catalog.Controls(&g, s.Controller); err != nil {
		return subject{}, err
	}
	if err := s.Catalog.CheckEpoch(ctx, in.Group, in.Epoch); err != nil {
		return subject{}, err
	}
	if g.Epoch > in.Epoch {
		return subject{}, fault.Newf(fault.Fenced, "read group", "group %s is at epoch %d, and this is epoch %d", g.Name, g.Epoch, in.Epoch)
	}
	w := g.Workspace(in.Workspace)
	if w == nil {
		return subject{}, fault.Newf(fault.Missing, "read group", "group %s has no workspace %q", g.Name, in.Workspace)
	}
	to, err := s.destinations(g)
	return subject{group: g, workspace: *w, source: w.Sites[g.Active].Source, to: to}, err
}

// lineage returns the lineage that is written under the epoch.
func (sub subject) lineage(epoch topology.Epoch) (topology.Lineage, error) {
	l := sub.workspace.CurrentLineage()
	if l == nil || l.Epoch != epoch {
		return topology.Lineage{}, fault.Newf(fault.Transient, "read lineage", "workspace %s has no lineage under epoch %d yet", sub.workspace.Name, epoch)
	}
	return *l, nil
}

// soon is for a write beside the main thing, which must not wait for a bucket that is away.
const soon = 10 * time.Second
