package activities

import "context"

// FollowWAL lets a standby replay what the bucket of its region receives, until its turn is over or it is where it should be.
func (t *Target) FollowWAL(ctx context.Context, in FollowInput) (FollowResult, error) {
	return FollowResult{}, judge(ctx, errNotThere)
}
