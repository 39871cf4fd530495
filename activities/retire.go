package activities

import "context"

// RetireServer stops a managed server that is fenced for good, and keeps its files.
func (t *Target) RetireServer(ctx context.Context, in RetireInput) (PhaseResult, error) {
	return PhaseResult{}, judge(ctx, errNotThere)
}

// RemoveRetired takes away a retired server of which every byte is in the other region's bucket.
func (t *Target) RemoveRetired(ctx context.Context, in RetireInput) (PhaseResult, error) {
	return PhaseResult{}, judge(ctx, errNotThere)
}
