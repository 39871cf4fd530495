package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// followProtection acts on whether the group could fail over now: it lets the bucket of the region that does not serve decide
// as soon as that has everything, and records and tells each change. What cannot be done now is done by a later turn.
func (e *entity) followProtection(ctx workflow.Context, s topology.GroupStatus) {
	if s.Protection == nil {
		return
	}
	if s.Group.Authority == s.Group.Active && s.Group.Operation == nil && s.InSync() {
		e.moveAuthority(ctx, s)
	}
	if s.Protection.Since.Equal(s.ReadAt) { // it was otherwise until now
		e.recordProtection(ctx, s)
	}
}

// pause is how long to wait for the next look: little while the group has ceased to be protected lately, as after a failover or
// when replication was configured.
func (e *entity) pause(ctx workflow.Context) time.Duration {
	if s := e.state.Status; s != nil && s.Protection != nil && !s.Protection.Protected && workflow.Now(ctx).Sub(s.Protection.Since) < unprotectedLately {
		return observeSoon
	}
	return observeEvery
}

// moveAuthority is followed by another turn at once: the group counts as protected when that sees the new authority.
func (e *entity) moveAuthority(ctx workflow.Context, s topology.GroupStatus) {
	to := s.Group.Other(s.Group.Active)
	in := activities.MoveAuthorityInput{Group: e.group, To: to, Epoch: s.Group.Epoch}
	err := workflow.ExecuteActivity(once(ctx, "let the bucket of "+to+" decide"), control.MoveAuthority, in).Get(ctx, nil)
	if err != nil {
		workflow.GetLogger(ctx).Warn("the bucket of the region that does not serve does not decide yet", "error", err)
		return
	}
	e.poked = true
}

func (e *entity) recordProtection(ctx workflow.Context, s topology.GroupStatus) {
	var known activities.ProtectionResult
	in := activities.ProtectionInput{Group: e.group, Found: *s.Protection}
	err := workflow.ExecuteActivity(once(ctx, "record whether a failover could be made"), control.ObserveProtection, in).Get(ctx, &known)
	if err != nil {
		workflow.GetLogger(ctx).Warn("whether the group is protected was not recorded", "error", err)
		return
	}
	if known.Changed {
		notify(ctx, protectionEvent(s.Group, known.Protection))
	}
}

func protectionEvent(g topology.Group, p topology.Protection) Event {
	e := Event{Type: EventProtected, Group: g.Name, Region: g.Active, Epoch: p.Epoch}
	e.Message = fmt.Sprintf("group %s is protected: it could fail over to %s now", g.Name, p.Region)
	if !p.Protected {
		e.Type = EventUnprotected
		e.Message = fmt.Sprintf("group %s is not protected: %s", g.Name, p.Reason)
	}
	return e
}
