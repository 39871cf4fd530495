package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// DiscardSignal tells a DetachBranch that waits for the bucket, or for the host, to give up what has not arrived. Who asks to detach with
// Discard starts the workflow by signal-with-start, so that one that waits already hears it.
const DiscardSignal = "discard"

// DetachBranch takes a branch's compute away, once all that was written to it is in the bucket. One that is detached is returned as it is.
func DetachBranch(ctx workflow.Context, in DetachBranchInput) (BranchResult, error) {
	result, err := detachBranch(ctx, in)
	return result, refuse(err)
}

// detachBranch is DetachBranch as a part of another workflow that holds the branch's id.
func detachBranch(ctx workflow.Context, in DetachBranchInput) (BranchResult, error) {
	if in.Group == "" || in.Branch == "" {
		return BranchResult{}, invalid(`give both, as in {"group":"prod","branch":"test"}`, "detaching needs a group and a branch")
	}
	if _, _, err := readBranch(ctx, in.Group, in.Branch); err != nil {
		return BranchResult{}, err
	}
	var b topology.Branch
	begin := asked(ctx, TaskQueue, "record that it is being detached")
	err := workflow.ExecuteActivity(begin, control.RecordDetaching, activities.BranchInput{Group: in.Group, Branch: in.Branch}).Get(ctx, &b)
	if err != nil || b.Attached == nil {
		return BranchResult{Branch: b}, err
	}
	d := &detaching{in: in, branch: b, a: *b.Attached}
	return d.run(ctx)
}

// detaching is one run of DetachBranch.
type detaching struct {
	in     DetachBranchInput
	branch topology.Branch
	a      topology.Attachment
	notes  []string
}

func (d *detaching) input() activities.BranchInput {
	return activities.BranchInput{Group: d.in.Group, Branch: d.in.Branch, Attachment: d.a.ID, Discard: d.in.Discard}
}

func (d *detaching) run(ctx workflow.Context) (BranchResult, error) {
	if len(d.a.Links) > 0 {
		d.notes = append(d.notes, unlinkAll(ctx, d.in.Group, d.branch)...)
	}
	over := activities.RecordDetachedInput{BranchInput: d.input()}
	if d.a.Endpoint.Hosts != nil { // else nobody has ever reached it
		drained, err := d.drain(ctx)
		if err != nil {
			return BranchResult{Branch: d.branch}, refuseOn(d.branch.Region, d.a.Host, err)
		}
		over.Unwritten, over.Discard = drained.Unwritten, d.in.Discard
		d.notes = append(d.notes, drained.Notes...)
	}
	restore := activities.RestoreInput{
		Group: d.in.Group, To: d.branch.Region, Plan: activities.WorkspacePlan{Workspace: d.branch.Workspace}, Branch: d.in.Branch, Attachment: d.a.ID,
	}
	if err := forgetAttachment(ctx, over, d.branch.Region, d.a.Host, restore); err != nil {
		return BranchResult{Branch: d.branch}, err
	}
	_, b, err := readBranch(ctx, d.in.Group, d.in.Branch)
	if err == nil && over.Discard && d.a.Endpoint.Hosts != nil && !d.a.ReadOnly {
		d.notes = append(d.notes, d.givenUp(b))
	}
	return BranchResult{Branch: b, Notes: d.notes}, err
}

// drain ends the branch's server. Unless that is given up, at first or later, all that was written is in the bucket then.
func (d *detaching) drain(ctx workflow.Context) (r activities.DetachedResult, err error) {
	workflow.SetCurrentDetails(ctx, "Brings what was written to **"+d.in.Branch+"** to the bucket of "+d.branch.Region)
	discard := workflow.GetSignalChannel(ctx, DiscardSignal)
	if d.in.Discard {
		return r, nil
	}
	if !d.a.ReadOnly {
		if err := ensureBranchReplication(ctx, d.in.Group, d.in.Branch, d.branch.Region, d.a); err != nil {
			return r, err
		}
	}
	dctx, cancel := workflow.WithCancel(ctx)
	defer cancel()
	drain := workflow.ExecuteActivity(drainingOn(dctx, siteQueue(d.branch.Region, d.a.Host), "ship what was written, end the server"), target.DrainBranch, d.input())
	workflow.NewSelector(ctx).
		AddFuture(drain, func(f workflow.Future) { err = f.Get(ctx, &r) }).
		AddReceive(discard, func(c workflow.ReceiveChannel, _ bool) {
			c.Receive(ctx, nil)
			d.in.Discard = true
		}).
		Select(ctx)
	return r, err
}

// givenUp says where the branch ends, as its document has it: what still arrives of it changes nothing.
func (d *detaching) givenUp(b topology.Branch) string {
	since := d.a.Since.UTC().Format(noteTime)
	at := slices.IndexFunc(b.Line, func(l topology.Lineage) bool { return l.ID == d.a.Lineage })
	if at < 0 || b.Line[at].End == nil {
		return fmt.Sprintf("nothing of what was written since %s was known to be in the bucket of %s: all of it was given up", since, b.Region)
	}
	end := b.Line[at].End
	note := fmt.Sprintf("of what was written since %s it has all up to %s of lineage %s", since, end.At.LSN, d.a.Lineage)
	if !end.LastCommit.IsZero() {
		note += ", whose last commit was at " + end.LastCommit.UTC().Format(noteTime)
	}
	if end.Announced {
		note += fmt.Sprintf(" (announced last: the bucket of %s did not answer)", b.Region)
	}
	return note + "; the rest was given up, also what still arrives in the bucket"
}

const noteTime = "2006-01-02 15:04:05 UTC"
