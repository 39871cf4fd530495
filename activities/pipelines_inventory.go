package activities

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

const (
	// compareWithin is how long the comparison may hold up a failover: it finds what to look at, and changes nothing.
	compareWithin = 30 * time.Second
	// mostListed is how many differences are told one by one.
	mostListed = 40
)

// compareInventory compares what the restored server holds (roles, grants, ownership, settings of roles) with what was last
// seen on the primary. The notes list each difference. Whatever goes wrong with it is a note too: the server is as good
// as it was.
func (t *Target) compareInventory(ctx context.Context, server *postgres.Server, in RestoreInput) (notes []string, err error) {
	within, cancel := context.WithTimeout(ctx, compareWithin)
	defer cancel()
	notes, err = t.compareWithPrimary(within, server, in)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case fault.Is(err, fault.Missing):
		return []string{"roles, grants and ownership were not compared with the primary's: nobody ever captured those"}, nil
	case err != nil:
		return []string{fmt.Sprintf("roles, grants and ownership were not compared with the primary's: %s", err)}, nil
	}
	return notes, nil
}

func (t *Target) compareWithPrimary(ctx context.Context, server *postgres.Server, in RestoreInput) ([]string, error) {
	primary, err := readInventory(ctx, t.Catalog, in.Group, in.Plan.Workspace)
	if err != nil {
		return nil, err
	}
	conn, err := server.Open(ctx, "postgres")
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only read from
	here, notes, err := metadata.CaptureInventory(ctx, conn, metadata.InventoryOptions{Like: &primary})
	if err != nil {
		return nil, err
	}
	leftOut, err := t.leftOut(ctx, in, primary.Databases())
	if err != nil {
		return nil, err
	}
	found := metadata.CompareInventories(primary.AfterFailover(leftOut...), here.AfterFailover(leftOut...))
	return slices.Concat(notes, metadata.Unseen(primary), mismatchNotes(found, lookHint(primary, in))), nil
}

// leftOut names those of the primary's databases that no failover brings back: they were not chosen, or this plan restores
// them as zeros.
func (t *Target) leftOut(ctx context.Context, in RestoreInput, primary []string) (names []string, err error) {
	for _, d := range in.Plan.Omitted {
		names = append(names, d.Name)
	}
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil || loaded.Group.Replication == nil {
		return names, err
	}
	chosen, all := loaded.Group.Replication.Chosen(in.Plan.Workspace)
	for _, name := range primary {
		if !all && !slices.Contains(topology.SystemDatabases, name) && !slices.Contains(chosen, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

func mismatchNotes(found []metadata.Mismatch, hint string) (notes []string) {
	if len(found) == 0 {
		return nil
	}
	notes = append(notes, fmt.Sprintf("%d things are not as they were last seen on the primary; %s", len(found), hint))
	for i, m := range found {
		if i == mostListed {
			return append(notes, fmt.Sprintf("and %d more", len(found)-i))
		}
		notes = append(notes, m.String())
	}
	return notes
}

// lookHint says whether the primary was looked at before or after the recovery point, which may be all there is to a
// difference.
func lookHint(primary metadata.Inventory, in RestoreInput) string {
	look, end := primary.OldestLook(), in.Plan.Point.RecordEnd
	when := fmt.Sprintf("the primary was looked at %s, when its WAL was at %s", look.At.Format(time.RFC3339), look.LSN)
	switch {
	case look.LSN > end:
		return fmt.Sprintf("%s, which is after the recovery point %s: what was changed between the two was lost", when, end)
	case look.LSN < end:
		return fmt.Sprintf("%s, which is before the recovery point %s: what was changed between the two is here as it was meant to be", when, end)
	}
	return when
}
