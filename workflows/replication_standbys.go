package workflows

import (
	"maps"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/internal/topology"
)

// keepStandbys starts and ends the standbys that the group's choice of preprovisioning asks for. While an operation holds the group
// nothing is changed: it may have taken them.
func (e *entity) keepStandbys(ctx workflow.Context, g topology.Group) {
	if e.standbys == nil {
		e.standbys = map[string]*standbyChild{}
	}
	if workflow.Now(ctx).After(e.standbysAgain) { // children that an earlier run of ours started end without our noticing
		maps.DeleteFunc(e.standbys, func(_ string, c *standbyChild) bool { return c.cancel == nil })
		e.standbysAgain = workflow.Now(ctx).Add(recheckChildren)
	}
	if g.Operation != nil {
		return
	}
	for i := range g.Workspaces {
		e.keepStandby(ctx, g, &g.Workspaces[i])
	}
}

// standbyChild is one Standby; cancel is nil when an earlier run started it.
type standbyChild struct {
	in     StandbyInput
	cancel workflow.CancelFunc
}

// standbyKeeping is what one run of Replication remembers of Standby.
type standbyKeeping struct {
	standbys      map[string]*standbyChild // by workspace
	standbysAgain time.Time                // when those of earlier runs are asked for again
}

// keepStandby brings what runs for one workspace nearer to what is wanted, by one step: the next turn makes the next.
func (e *entity) keepStandby(ctx workflow.Context, g topology.Group, w *topology.Workspace) {
	running := e.standbys[w.Name]
	to := g.Other(g.Active)
	switch wanted := wantsStandby(g, w); {
	case running != nil && running.in.Remove != nil:
		// it ends by itself
	case wanted && running == nil:
		e.startStandby(ctx, StandbyInput{Group: g.Name, Workspace: w.Name, Region: to, Epoch: g.Epoch})
	case !wanted && running != nil:
		e.stopStandby(ctx, w.Name, running)
	case !wanted:
		for _, region := range workflow.DeterministicKeys(w.Standbys) {
			there := w.Standbys[region]
			e.startStandby(ctx, StandbyInput{Group: g.Name, Workspace: w.Name, Region: region, Epoch: g.Epoch, Remove: &there})
			return
		}
	}
}

func wantsStandby(g topology.Group, w *topology.Workspace) bool {
	return g.Preprovision != nil && g.Replication != nil && g.State != topology.GroupTerminated && w.Recoverable() && w.Lineage != ""
}

func (e *entity) startStandby(ctx workflow.Context, in StandbyInput) {
	child, cancel := workflow.WithCancel(ctx)
	options := workflow.WithChildOptions(child, workflow.ChildWorkflowOptions{
		WorkflowID:            StandbyID(in.Group, in.Workspace),
		TaskQueue:             TaskQueue,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON, // it must not notice that a run of ours ends
		StaticSummary:         "keeps a server of " + in.Workspace + " of " + in.Group + " following in " + in.Region,
	})
	future := workflow.ExecuteChildWorkflow(options, StandbyType, in)
	c := &standbyChild{in: in}
	if future.GetChildWorkflowExecution().Get(ctx, nil) == nil {
		c.cancel = cancel
		workflow.Go(ctx, func(ctx workflow.Context) {
			if err := future.Get(ctx, nil); err != nil {
				workflow.GetLogger(ctx).Debug("a standby has ended", "workspace", in.Workspace, "error", err)
			}
			if e.standbys[in.Workspace] == c {
				delete(e.standbys, in.Workspace)
				e.poked = true
			}
		})
	}
	e.standbys[in.Workspace] = c
}

func (e *entity) stopStandby(ctx workflow.Context, workspace string, c *standbyChild) {
	if c.cancel != nil {
		c.cancel()
		return // its end is noticed
	}
	workflow.RequestCancelExternalWorkflow(ctx, StandbyID(e.group, workspace), "")
	delete(e.standbys, workspace)
}
