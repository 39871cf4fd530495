package workflows

import (
	"slices"
	"strings"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/internal/topology"
)

// each does something for several workspaces side by side. One that fails does not hold up the others: the failure
// names all that failed.
func each(ctx workflow.Context, workspaces []topology.Workspace, do func(workflow.Context, topology.Workspace) error) error {
	failed := make([]error, len(workspaces))
	open := workflow.NewWaitGroup(ctx)
	for i, w := range workspaces {
		open.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer open.Done()
			failed[i] = do(ctx, w)
		})
	}
	open.Wait(ctx)
	return joined(failed)
}

// joined makes one failure of several: of the type of the first, with all sentences. It is nil when nothing failed.
func joined(all []error) error {
	all = slices.DeleteFunc(slices.Clone(all), func(err error) bool { return err == nil })
	if len(all) == 0 {
		return nil
	}
	if len(all) == 1 {
		return refuse(all[0])
	}
	var texts, hints []string
	for _, err := range all {
		f := FailureOf(err)
		texts = append(texts, f.Message)
		if f.Hint != "" && !slices.Contains(hints, f.Hint) {
			hints = append(hints, f.Hint)
		}
	}
	return temporal.NewNonRetryableApplicationError(strings.Join(texts, "; "), FailureOf(all[0]).Type, nil, strings.Join(hints, " "))
}

// summary says in front of a failure what was done all the same, and adds to its hint.
func summary(done, hint string, err error) error {
	f := FailureOf(err)
	return temporal.NewNonRetryableApplicationError(done+": "+f.Message, f.Type, nil, strings.TrimSpace(f.Hint+" "+hint))
}
