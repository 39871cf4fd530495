package activities

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const opNeeded = "look for the oldest open transaction"

// needed returns what finds out how far back WAL is needed before a fork. Where the bucket of another region was asked first, this one only has
// to have as much.
func (c *Control) needed(region string) func(context.Context, *topology.Group, topology.SystemManaged) (wal.LSN, error) {
	return func(ctx context.Context, g *topology.Group, sm topology.SystemManaged) (wal.LSN, error) {
		records, err := c.recordsTo(g, region, sm)
		if err != nil {
			return 0, err
		}
		oldest, err := records.Oldest(ctx)
		switch {
		case err != nil:
			return 0, err
		case sm.Needs == 0:
			return missing.OldestNeeded(ctx, records.Walk, sm.Fork.LSN, oldest, records.SegmentSize)
		case records.SegmentSize.Start(sm.Needs) < oldest:
			return 0, fault.Newf(fault.Missing, opNeeded, "the bucket of region %s begins at %s, and %s is needed", region, oldest, sm.Needs)
		}
		return sm.Needs, nil
	}
}

// recordsTo are the records up to a fork, as a region's bucket has them.
func (c *Control) recordsTo(g *topology.Group, region string, sm topology.SystemManaged) (restore.Records, error) {
	way := g.Ancestry(sm.Workspace, sm.Lineage)
	if len(way) == 0 {
		return restore.Records{}, fault.Newf(fault.Missing, opNeeded, "group %s does not know lineage %s", g.Name, sm.Lineage)
	}
	store, err := c.store(region)
	if err != nil {
		return restore.Records{}, err
	}
	var legs []Leg
	for i, l := range way {
		leg := Leg{Lineage: l, From: l.Start, To: sm.Fork.LSN}
		if i+1 < len(way) {
			leg.To = way[i+1].Parent.At.LSN
		}
		legs = append(legs, leg)
	}
	size := way[len(way)-1].SegmentSize
	return restore.Records{Legs: restoreLegs(store, g.Name, sm.Workspace, legs, sm.Fork.Timeline), SegmentSize: size}, nil
}
