package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// reserving is the entity's care for places that are kept.
type reserving struct {
	busy  bool
	next  time.Time      // when to look again
	epoch topology.Epoch // at the last look
	count int            // of the workspaces then
}

// keepReservations keeps a place for each workspace in each region that has a host, soon after a group was configured, a
// workspace came or another region began to serve, and looks now and then whether the hosts are still there. The entity's loop
// does not wait for it: a host may be away.
func (e *entity) keepReservations(ctx workflow.Context, g topology.Group) {
	r := &e.reserving
	if g.Replication == nil || g.Secondary == "" || g.Operation != nil || r.busy {
		return
	}
	if same := r.epoch == g.Epoch && r.count == len(g.Workspaces); same && workflow.Now(ctx).Before(r.next) {
		return
	}
	r.busy, r.epoch, r.count, r.next = true, g.Epoch, len(g.Workspaces), workflow.Now(ctx).Add(reserveEvery)
	workflow.Go(ctx, func(ctx workflow.Context) {
		defer func() { r.busy = false }()
		if reserve(ctx, g.Name) {
			e.poked = true // the group has changed
		}
	})
}

// reserve has places kept that are not yet, and reports whether there are any new ones. What fails is tried again the next time.
func reserve(ctx workflow.Context, group string) bool {
	var plan activities.PlanReservationsResult
	planning := reservingPlaces(ctx, TaskQueue)
	err := workflow.ExecuteActivity(planning, control.PlanReservations, activities.ReadGroupInput{Group: group}).Get(ctx, &plan)
	if err != nil || len(plan.Wanted) == 0 {
		return false
	}
	asked := make([]workflow.Future, len(plan.Wanted))
	for i, w := range plan.Wanted {
		in := activities.ReservePlaceInput{Group: group, Workspace: w.Workspace, Port: w.Port}
		asked[i] = workflow.ExecuteActivity(reservingPlaces(ctx, HostQueue(w.Region, w.Host)), target.ReservePlace, in)
	}
	record := activities.RecordReservationsInput{Group: group}
	for i, w := range plan.Wanted {
		kept := activities.Reserved{Workspace: w.Workspace, Region: w.Region}
		if asked[i].Get(ctx, &kept.Reservation) == nil {
			record.Kept = append(record.Kept, kept)
		}
	}
	if len(record.Kept) == 0 {
		return false
	}
	return workflow.ExecuteActivity(reservingPlaces(ctx, TaskQueue), control.RecordReservations, record).Get(ctx, nil) == nil
}
