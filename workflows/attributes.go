package workflows

import (
	"sync/atomic"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// attributesKnown says whether this worker's namespace has our search attributes; see AttributesRegistered.
var attributesKnown atomic.Bool

// AttributesRegistered tells the workflows of this process that the namespace has the search attributes. A worker
// calls it before it polls. Without it workflows set none: an unknown attribute would stop a workflow for good.
func AttributesRegistered() { attributesKnown.Store(true) }

var (
	groupKey  = temporal.NewSearchAttributeKeyKeyword(GroupAttribute)
	regionKey = temporal.NewSearchAttributeKeyKeyword(RegionAttribute)
	phaseKey  = temporal.NewSearchAttributeKeyKeyword(PhaseAttribute)
)

// labels are the search attributes of one run.
type labels struct{ asked, known bool }

// set sets search attributes, where the namespace has them. The answer of the worker that asked first is recorded
// in the history, so that workers that differ agree on replay.
func (l *labels) set(ctx workflow.Context, updates ...temporal.SearchAttributeUpdate) error {
	if !l.asked {
		recorded := workflow.SideEffect(ctx, func(workflow.Context) any { return attributesKnown.Load() })
		if err := recorded.Get(&l.known); err != nil {
			return err
		}
		l.asked = true
	}
	if !l.known {
		return nil
	}
	return workflow.UpsertTypedSearchAttributes(ctx, updates...)
}

// label is for a run that sets its search attributes once.
func label(ctx workflow.Context, updates ...temporal.SearchAttributeUpdate) error {
	return new(labels).set(ctx, updates...)
}
