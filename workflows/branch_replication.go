package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
)

// BranchReplication brings what is written to an attached branch to the bucket of its region, until the branch has another attachment, or
// none. What keeps it stands in the attachment. It takes no snapshots and captures nothing: the branch's own WAL is all that it adds.
func BranchReplication(ctx workflow.Context, in BranchReplicationInput) error {
	if in.Group == "" || in.Branch == "" || in.Attachment == "" || in.Region == "" || in.Host == "" {
		return invalid("the branch's host starts it with all five", "shipping a branch needs its group, name, attachment, region and host")
	}
	if err := label(ctx, groupKey.ValueSet(in.Group), regionKey.ValueSet(in.Region)); err != nil {
		return err
	}
	workflow.SetCurrentDetails(ctx, "Ships what is written to **"+in.Branch+"** on "+in.Host+" to the bucket of "+in.Region)
	ship := activities.ShipBranchInput{BranchInput: activities.BranchInput{Group: in.Group, Branch: in.Branch, Attachment: in.Attachment}, TurnSeconds: int(turn / time.Second)}
	for n := 0; n < workspaceRun && !workflow.GetInfo(ctx).GetContinueAsNewSuggested(); n++ {
		err := workflow.ExecuteActivity(beside(ctx, siteQueue(in.Region, in.Host), "WAL of the branch to its bucket"), source.ShipBranch, ship).Get(ctx, nil)
		if err == nil {
			continue
		}
		if f := FailureOf(err); ctx.Err() != nil || f.Type == string(fault.Fenced) || f.Type == string(fault.Missing) {
			return ctx.Err() // another attachment, or none: nobody waits for this one
		}
		if err := standsStill(ctx, ship.BranchInput, FailureOf(err)); err != nil {
			return err
		}
	}
	return workflow.NewContinueAsNewError(ctx, BranchReplication, in)
}

// standsStill says for a while why nothing is shipped.
func standsStill(ctx workflow.Context, in activities.BranchInput, f Failure) error {
	workflow.SetCurrentDetails(ctx, "**Stands still:** "+f.Message+" "+f.Hint)
	tell := activities.TellBranchInput{BranchInput: in, Error: "what is written to it is not shipped: " + f.Message, Hint: f.Hint}
	if f.Type == HoleType {
		tell.Hint = "Its server does not have that WAL any more. Save what is needed of it, then detach it with discard (--discard)."
	}
	tellBranch(ctx, tell)
	if err := workflow.Sleep(ctx, standstillPause); err != nil {
		return err
	}
	tellBranch(ctx, activities.TellBranchInput{BranchInput: in})
	return nil
}

func tellBranch(ctx workflow.Context, in activities.TellBranchInput) {
	if err := workflow.ExecuteActivity(once(ctx, "say what keeps it"), control.TellBranch, in).Get(ctx, nil); err != nil {
		workflow.GetLogger(ctx).Warn("what keeps a branch was not recorded", "error", err)
	}
}
