package workflows

import (
	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// AttachBranch gives a branch compute: one server on a host of the branch's region, with an endpoint of its own. One that is attached
// in the same way already is returned as it is. What fails before clients could reach it is taken away again.
func AttachBranch(ctx workflow.Context, in AttachBranchInput) (BranchResult, error) {
	result, err := attachBranch(ctx, in)
	return result, refuse(err)
}

// attachBranch is AttachBranch as a part of another workflow that holds the branch's id.
func attachBranch(ctx workflow.Context, in AttachBranchInput) (BranchResult, error) {
	if in.Group == "" || in.Branch == "" {
		return BranchResult{}, invalid(`give both, as in {"group":"prod","branch":"test"}`, "attaching needs a group and a branch")
	}
	plan := activities.PlanAttachInput{Group: in.Group, Branch: in.Branch, ReadOnly: in.ReadOnly, Host: in.Host}
	if in.Size != "" {
		size, err := topology.ParseSize(in.Size)
		if err != nil {
			return BranchResult{}, refuseInvalid(err)
		}
		plan.Size = &size
	}
	g, b, err := readBranch(ctx, in.Group, in.Branch)
	if err != nil {
		return BranchResult{}, err
	}
	a := &attaching{in: plan, group: g, region: b.Region}
	return a.run(ctx)
}

// readBranch reads a group and one of its branches. One that is not there is left for the activities to explain.
func readBranch(ctx workflow.Context, group, branch string) (g topology.Group, b topology.Branch, err error) {
	read := asked(ctx, TaskQueue, "read the group")
	if err := workflow.ExecuteActivity(read, control.ReadGroup, activities.ReadGroupInput{Group: group}).Get(ctx, &g); err != nil {
		return g, b, err
	}
	b.Name, b.Region = branch, g.Active
	if found := g.Branch(branch); found != nil {
		b = *found
	}
	return g, b, label(ctx, groupKey.ValueSet(group), regionKey.ValueSet(b.Region))
}

// attaching is one run of AttachBranch.
type attaching struct {
	in     activities.PlanAttachInput
	group  topology.Group
	region string
	host   string

	restore   activities.RestoreInput
	published bool
	notes     []string
}

func (a *attaching) run(ctx workflow.Context) (BranchResult, error) {
	plan, notes, err := a.plan(ctx)
	if err != nil {
		return BranchResult{}, err
	}
	if there := plan.Branch.Attached; there != nil && there.State == topology.AttachmentServes {
		return BranchResult{Branch: plan.Branch}, a.replicate(ctx, *there)
	}
	a.notes = notes
	b, err := a.record(ctx, plan)
	if err != nil {
		return BranchResult{}, err
	}
	b, err = a.bringUp(ctx, b)
	if err != nil {
		a.undo(ctx)
		return BranchResult{}, refuseOn(a.region, a.host, err)
	}
	return BranchResult{Branch: b, Notes: a.notes}, a.replicate(ctx, *b.Attached)
}

// plan finds out what is to be restored and on which host, and plans again without the hosts that cannot do it.
func (a *attaching) plan(ctx workflow.Context) (plan activities.PlanAttachResult, notes []string, err error) {
	var refusal error // the first, which says more than that no host is left
	for {
		plan = activities.PlanAttachResult{}
		look := asked(ctx, RegionQueue(a.region), "what is restored of "+a.in.Branch+", to which point and where")
		if err := workflow.ExecuteActivity(look, target.PlanAttach, a.in).Get(ctx, &plan); err != nil {
			if refusal != nil && FailureOf(err).Type == string(fault.Invalid) {
				err = refusal
			}
			return plan, nil, refuseAt(a.region, err)
		}
		if plan.Branch.Attached != nil {
			return plan, nil, nil
		}
		var said activities.PhaseResult
		check := asked(ctx, siteQueue(a.region, plan.Plan.Host), "whether "+plan.Plan.Host+" can run it")
		err := workflow.ExecuteActivity(check, target.CheckHost, activities.CheckHostInput{Group: a.in.Group, Plan: plan.Plan}).Get(ctx, &said)
		switch {
		case err == nil:
			return plan, said.Notes, nil
		case !noWorker(err) && FailureOf(err).Type != string(fault.Invalid):
			return plan, nil, err
		case refusal == nil:
			refusal = refuseOn(a.region, plan.Plan.Host, err)
		}
		a.in.Refused = append(a.in.Refused, plan.Plan.Host)
	}
}

// record makes an attachment the branch's. One that is under way is gone on with.
func (a *attaching) record(ctx workflow.Context, plan activities.PlanAttachResult) (b topology.Branch, err error) {
	made := plan.Branch.Attached
	if made == nil {
		made = &topology.Attachment{ReadOnly: a.in.ReadOnly, Host: plan.Plan.Host, Size: plan.Size}
		names := workflow.SideEffect(ctx, func(workflow.Context) any {
			return [2]string{uuid.NewString()[:8], topology.NewLineageID(a.group.Epoch)}
		})
		var ids [2]string
		if err := names.Get(&ids); err != nil {
			return b, err
		}
		if made.ID = ids[0]; !a.in.ReadOnly {
			made.Lineage = ids[1]
		}
	}
	a.host = made.Host
	a.restore = activities.RestoreInput{
		Group: a.in.Group, To: a.region, Operation: made.ID, Epoch: a.group.Epoch, Plan: plan.Plan,
		Branch: a.in.Branch, Attachment: made.ID, ReadOnly: made.ReadOnly,
	}
	a.restore.Plan.Lineage, a.restore.Plan.Host = made.Lineage, made.Host
	if e, err := topology.ParseLineageID(made.Lineage); err == nil {
		a.restore.Epoch = e
	}
	in := activities.RecordAttachmentInput{Group: a.in.Group, Branch: a.in.Branch, Attachment: *made}
	err = workflow.ExecuteActivity(asked(ctx, TaskQueue, "record that it is attached on "+made.Host), control.RecordAttachment, in).Get(ctx, &b)
	return b, err
}

// bringUp restores the branch as a failover does a workspace, and publishes it.
func (a *attaching) bringUp(ctx workflow.Context, b topology.Branch) (topology.Branch, error) {
	point := a.restore.Plan.Point.RecordEnd.String()
	var made activities.ProvisionBranchResult
	if err := a.do(ctx, "folders and a port", target.ProvisionBranch, a.restore, &made); err != nil {
		return b, err
	}
	a.restore.Place, a.restore.Plan = made.Place, made.Plan
	if err := a.noted(ctx, "snapshot "+made.Plan.Snapshot, target.RestoreSnapshot); err != nil {
		return b, err
	}
	if err := a.noted(ctx, "WAL up to "+point, target.FetchWAL); err != nil {
		return b, err
	}
	publish := activities.PublishBranchInput{}
	summary := "recover exactly to " + point + ", promote"
	if a.in.ReadOnly {
		summary = "replay exactly to " + point
	}
	if err := a.do(ctx, summary, target.AttachBranch, a.restore, &publish.Attached); err != nil {
		return b, err
	}
	a.notes = append(a.notes, publish.Attached.Notes...)
	if err := a.noted(ctx, "access rules, databases; pipelines stay off", target.RestoreMetadata); err != nil {
		return b, err
	}
	publish.RestoreInput = a.restore
	err := a.do(ctx, "the branch's connection string", target.PublishBranch, publish, &b)
	a.published = err == nil
	return b, err
}

func (a *attaching) noted(ctx workflow.Context, summary string, activity any) error {
	var result activities.PhaseResult
	err := a.do(ctx, summary, activity, a.restore, &result)
	a.notes = append(a.notes, result.Notes...)
	return err
}

// do has the branch's host do something. Nobody may take it up for a while because Temporal itself was away: a host that goes on
// announcing itself is asked again.
func (a *attaching) do(ctx workflow.Context, summary string, activity, in, result any) error {
	workflow.SetCurrentDetails(ctx, "Branch **"+a.in.Branch+"** of "+a.in.Group+" on **"+a.host+"**: "+summary)
	for {
		err := workflow.ExecuteActivity(attachingOn(ctx, siteQueue(a.region, a.host), summary), activity, in).Get(ctx, result)
		if !noWorker(err) || !branchHostThere(ctx, a.region, a.host) {
			return err
		}
	}
}

func branchHostThere(ctx workflow.Context, region, host string) bool {
	var r activities.HostThereResult
	look := asked(ctx, RegionQueue(region), "whether "+host+" is there")
	err := workflow.ExecuteActivity(look, target.HostThere, activities.HostInput{Host: host}).Get(ctx, &r)
	return err == nil && r.There
}

// undo takes away what was made for clients that never came. What the host does not remove now it removes when it looks at its folders.
func (a *attaching) undo(ctx workflow.Context) {
	if a.published {
		return
	}
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	// A publication whose answer was lost may have happened: what was written in that moment is given up.
	in := activities.BranchInput{Group: a.in.Group, Branch: a.in.Branch, Attachment: a.restore.Attachment, Discard: true}
	if err := forgetAttachment(ctx, activities.RecordDetachedInput{BranchInput: in}, a.region, a.host, a.restore); err != nil {
		workflow.GetLogger(ctx).Warn("a branch that could not be attached still has its attachment", "branch", a.in.Branch, "error", err)
	}
}

// forgetAttachment takes an attachment out of the group's document, and then its files from the host.
func forgetAttachment(ctx workflow.Context, in activities.RecordDetachedInput, region, host string, restore activities.RestoreInput) error {
	err := workflow.ExecuteActivity(clearing(ctx, TaskQueue, "record that it is not attached"), control.RecordDetached, in).Get(ctx, nil)
	if err != nil {
		return err
	}
	err = workflow.ExecuteActivity(clearing(ctx, siteQueue(region, host), "remove its server"), target.RemoveBranchServer, restore).Get(ctx, nil)
	if err != nil {
		workflow.GetLogger(ctx).Info("the server of a branch is removed later, by its host", "host", host, "error", err)
	}
	return nil
}

// replicate starts what ships the branch's WAL. The branch serves already: its host sees to it, too.
func (a *attaching) replicate(ctx workflow.Context, there topology.Attachment) error {
	if there.ReadOnly {
		return nil
	}
	err := ensureBranchReplication(ctx, a.in.Group, a.in.Branch, a.region, there)
	if err != nil && !temporal.IsCanceledError(err) {
		workflow.GetLogger(ctx).Warn("what ships a branch is started by its host", "branch", a.in.Branch, "error", err)
	}
	return nil
}

func ensureBranchReplication(ctx workflow.Context, group, branch, region string, a topology.Attachment) error {
	in := activities.EnsureBranchReplicationInput{
		BranchInput: activities.BranchInput{Group: group, Branch: branch, Attachment: a.ID}, Region: region, Host: a.Host,
	}
	in.WorkflowType, in.WorkflowID = BranchReplicationOf(group, branch)
	return workflow.ExecuteActivity(asked(ctx, TaskQueue, "start shipping it"), control.EnsureBranchReplication, in).Get(ctx, nil)
}

// BranchReplicationOf is the type and the id of the workflow that ships what is written to a branch.
func BranchReplicationOf(group, branch string) (kind, id string) {
	return BranchReplicationType, BranchReplicationID(group, branch)
}
