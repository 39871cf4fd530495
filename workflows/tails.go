package workflows

import (
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// Tails brings home what the servers of a group's left lineages wrote after they were left, for as long as it takes: their region may
// come back in an hour, or in a year. It ends when all of that is in both buckets, or the group is over.
func Tails(ctx workflow.Context, in TailsInput) error {
	if in.Group == "" {
		return invalid(`give one, as in {"group":"prod"}`, "bringing tails home needs a group")
	}
	if err := label(ctx, groupKey.ValueSet(in.Group)); err != nil {
		return err
	}
	b := &bringer{in: in, doing: map[string]string{}, under: map[string]workflow.CancelFunc{}}
	for round := 0; round < tailRounds && !workflow.GetInfo(ctx).GetContinueAsNewSuggested(); round++ {
		open, err := b.list(ctx)
		if final := b.judge(ctx, open, err); final || ctx.Err() != nil {
			return refuse(err)
		}
		if err == nil {
			b.start(ctx, open)
		}
		if err := workflow.Sleep(ctx, tailPause); err != nil {
			return err
		}
	}
	return workflow.NewContinueAsNewError(ctx, Tails, in)
}

// bringer is one run of Tails.
type bringer struct {
	in    TailsInput
	under map[string]workflow.CancelFunc // by lineage: tails that are waited for or on their way
	order []string                       // of what is shown
	doing map[string]string              // what becomes of each tail, for people
}

func (b *bringer) list(ctx workflow.Context) ([]activities.OpenTail, error) {
	var open activities.ListTailsResult
	err := workflow.ExecuteActivity(once(ctx, "which tails are not complete"), control.ListTails, activities.ListTailsInput{Group: b.in.Group}).Get(ctx, &open)
	return open.Tails, err
}

// judge reports whether there is nothing more to do: all is home, the group is gone, or another control plane brings the rest.
func (b *bringer) judge(ctx workflow.Context, open []activities.OpenTail, err error) bool {
	if err == nil {
		return len(open) == 0
	}
	f := FailureOf(err)
	b.say(ctx, "the catalog", f.Message)
	return f.Type == string(fault.Fenced) || f.Type == string(fault.Missing)
}

// start begins to bring each tail that nobody brings, side by side: a region that is away holds up nobody else. What came home on
// another way meanwhile is no longer waited for.
func (b *bringer) start(ctx workflow.Context, open []activities.OpenTail) {
	for _, t := range open {
		if b.under[t.Tail.Lineage] != nil {
			continue
		}
		each, cancel := workflow.WithCancel(ctx)
		b.under[t.Tail.Lineage] = cancel
		workflow.Go(each, func(ctx workflow.Context) {
			b.bring(ctx, t)
			delete(b.under, t.Tail.Lineage)
		})
	}
	for _, lineage := range b.order {
		home := !slices.ContainsFunc(open, func(t activities.OpenTail) bool { return t.Tail.Lineage == lineage })
		if cancel := b.under[lineage]; home && cancel != nil {
			cancel()
		}
	}
}

// bring waits for the tail's server, and meanwhile looks again and again whether its bucket has come back without it.
func (b *bringer) bring(ctx workflow.Context, t activities.OpenTail) {
	ctx, cancel := workflow.WithCancel(ctx)
	defer cancel()
	in := activities.TailInput{Group: b.in.Group, Workspace: t.Tail.Workspace, Lineage: t.Tail.Lineage, TurnSeconds: int(tailTurn.Seconds())}
	queue := siteQueue(t.Region, t.Host)
	ship := workflow.ExecuteActivity(awaited(ctx, queue, "what "+in.Workspace+" wrote in "+t.Region+" after it was left"), source.ShipTail, in)
	pause := tailCopyFirst
	for over := false; !over && ctx.Err() == nil; pause = min(2*pause, tailCopyEvery) {
		b.copied(ctx, in)
		again := workflow.NewTimer(ctx, pause)
		workflow.NewSelector(ctx).
			AddFuture(ship, func(f workflow.Future) { over = true; b.shipped(ctx, in, t, f) }).
			AddFuture(again, func(workflow.Future) {}).
			Select(ctx)
	}
}

func (b *bringer) copied(ctx workflow.Context, in activities.TailInput) {
	var now topology.Tail
	err := workflow.ExecuteActivity(copying(ctx, "lineage "+in.Lineage+" from bucket to bucket"), control.CopyTail, in).Get(ctx, &now)
	b.tell(ctx, in, now, err)
}

func (b *bringer) shipped(ctx workflow.Context, in activities.TailInput, t activities.OpenTail, f workflow.Future) {
	var now topology.Tail
	err := f.Get(ctx, &now)
	if noWorker(err) {
		b.say(ctx, in.Lineage, fmt.Sprintf("no worker of %s answers yet; what the server there wrote since it was left is waited for", siteName(t)))
		return
	}
	b.tell(ctx, in, now, err)
}

func siteName(t activities.OpenTail) string {
	if t.Host != "" {
		return fmt.Sprintf("host %q in region %q", t.Host, t.Region)
	}
	return fmt.Sprintf("region %q", t.Region)
}

// tell shows how far a tail is.
func (b *bringer) tell(ctx workflow.Context, in activities.TailInput, t topology.Tail, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil:
		f := FailureOf(err)
		b.say(ctx, in.Lineage, strings.TrimSpace(f.Message+" "+f.Hint))
	case t.Complete:
		b.say(ctx, in.Lineage, fmt.Sprintf("complete: %d transactions up to %s", t.Commits, t.At))
	default:
		b.say(ctx, in.Lineage, fmt.Sprintf("%d transactions up to %s; %s", t.Commits, t.At, t.Error))
	}
}

func (b *bringer) say(ctx workflow.Context, what, how string) {
	if b.doing[what] == "" {
		b.order = append(b.order, what)
	}
	b.doing[what] = how
	var s strings.Builder
	fmt.Fprintf(&s, "What was written in group **%s** after another region had taken over\n\n| lineage | |\n|---|---|\n", b.in.Group)
	for _, what := range b.order {
		fmt.Fprintf(&s, "| %s | %s |\n", what, b.doing[what])
	}
	workflow.SetCurrentDetails(ctx, s.String())
}
