package workflows

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// served is group prod after a failover to west that replicates back to east.
func served() topology.Group {
	g := configured()
	g.Active, g.Epoch, g.Authority = "west", 2, "west"
	l := topology.Lineage{ID: "0002-00000001", Epoch: 2, Region: "west"}
	g.Workspaces[0].Sites = map[string]topology.Site{"west": {Kind: topology.Managed}}
	g.Workspaces[0].Lineage, g.Workspaces[0].Lineages = l.ID, []topology.Lineage{l}
	return g
}

// inSync is a status of g in which the other region's bucket has everything.
func inSync(g topology.Group, now time.Time) topology.GroupStatus {
	lineage := g.Workspaces[0].Lineage
	s := topology.GroupStatus{Group: g, ReadAt: now, Workspaces: []topology.WorkspaceStatus{{
		Workspace: "main",
		WAL:       &topology.WALProgress{Lineage: lineage, Epoch: g.Epoch, MeasuredAt: now, Cursors: []topology.Cursor{{Region: g.Other(g.Active)}}},
		Snapshot:  &topology.SnapshotProgress{Lineage: lineage, MeasuredAt: now, Complete: []string{g.Other(g.Active)}},
	}}}
	s.Protection = s.Protected()
	return s
}

// After a failover the decision goes to the other bucket as soon as that has everything, the group is protected from then on, and
// that is told once.
func TestAGroupIsProtectedAgain(t *testing.T) {
	env := childEnv(t, counting(map[topology.Epoch]int{}))
	var told []Event
	env.RegisterWorkflowWithOptions(func(_ workflow.Context, in NotifyInput) (NotifyResult, error) {
		told = append(told, in.Event)
		return NotifyResult{}, nil
	}, workflow.RegisterOptions{Name: NotifyType})
	g, stored := served(), topology.Protection{Region: "west", Epoch: 1, Protected: true}
	env.OnActivity(control.ObserveStatus, mock.Anything, mock.Anything).Return(func(context.Context, activities.ReadGroupInput) (topology.GroupStatus, error) {
		s := inSync(g, env.Now())
		s.Protection.Since = stored.Since
		if s.Protection.Protected != stored.Protected || s.Protection.Region != stored.Region {
			s.Protection.Since = s.ReadAt
		}
		return s, nil
	})
	moved := 0
	env.OnActivity(control.MoveAuthority, mock.Anything, activities.MoveAuthorityInput{Group: "prod", To: "east", Epoch: 2}).Return(
		func(context.Context, activities.MoveAuthorityInput) (topology.Group, error) {
			if moved++; moved == 1 {
				return g, fails(fault.Transient, "the bucket went away")
			}
			g.Authority = "east"
			return g, nil
		})
	env.OnActivity(control.ObserveProtection, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.ProtectionInput) (activities.ProtectionResult, error) {
		changed := stored.Protected != in.Found.Protected
		stored = in.Found
		return activities.ProtectionResult{Protection: stored, Changed: changed}, nil
	})
	env.ExecuteWorkflow(Replication, ReplicationInput{Group: "prod"})
	nextInput(t, env)
	if moved != 2 || !stored.Protected || stored.Region != "east" || stored.Epoch != 2 {
		t.Errorf("moved %d times; stored %+v", moved, stored)
	}
	if len(told) != 2 || told[0].Type != EventUnprotected || told[1].Type != EventProtected || !strings.Contains(told[1].Message, "east") {
		t.Errorf("told %+v", told)
	}
}

// The decision stays where it is while anything would be missing on the other side, or an operation holds the group.
func TestTheDecisionWaits(t *testing.T) {
	for name, change := range map[string]func(*topology.GroupStatus){
		"no snapshot": func(s *topology.GroupStatus) { s.Workspaces[0].Snapshot = nil },
		"lag":         func(s *topology.GroupStatus) { s.Workspaces[0].WAL.Cursors[0].LagSeconds = 61 },
		"silence":     func(s *topology.GroupStatus) { s.Silent = map[string]string{"east": "no route"} },
		"an operation": func(s *topology.GroupStatus) {
			s.Group.Operation = &topology.OperationRef{ID: "a", Kind: FailoverType}
		},
	} {
		t.Run(name, func(t *testing.T) {
			env := childEnv(t, counting(map[topology.Epoch]int{}))
			env.OnActivity(control.ObserveStatus, mock.Anything, mock.Anything).Return(func(context.Context, activities.ReadGroupInput) (topology.GroupStatus, error) {
				s := inSync(served(), env.Now())
				change(&s)
				s.Protection = s.Protected()
				return s, nil
			})
			env.ExecuteWorkflow(Replication, ReplicationInput{Group: "prod"})
			nextInput(t, env) // MoveAuthority is not mocked: it would show as an error of the activity
			env.AssertNotCalled(t, "MoveAuthority", mock.Anything, mock.Anything)
		})
	}
}

// Replication ends by itself when another control plane acts for the group. Its children find that out for themselves, at the
// server's side.
func TestReplicationEndsWhenItWasReplaced(t *testing.T) {
	env := childEnv(t, counting(map[topology.Epoch]int{}))
	g := configured()
	replaced := false
	env.OnActivity(control.ObserveStatus, mock.Anything, mock.Anything).Return(func(context.Context, activities.ReadGroupInput) (topology.GroupStatus, error) {
		if replaced {
			return topology.GroupStatus{}, fails(fault.Fenced, "another control plane acts for it")
		}
		return topology.GroupStatus{Group: g}, nil
	})
	env.RegisterDelayedCallback(func() { replaced = true }, time.Minute)
	env.ExecuteWorkflow(Replication, ReplicationInput{Group: "prod"})
	if f := failureOf(t, env); f.Type != string(fault.Fenced) || !strings.Contains(f.Message, "another control plane") {
		t.Errorf("ended with %+v", f)
	}
}

func TestRecoverTakesOverAndReplicates(t *testing.T) {
	env := newEnv(t)
	env.RegisterWorkflow(Recover)
	g := configured()
	env.OnActivity(target.TakeControl, mock.Anything, mock.MatchedBy(func(in activities.TakeControlInput) bool {
		return in.Group == "prod" && in.Force && in.By != ""
	})).Return(g, nil).Once()
	env.OnActivity(control.EnsureReplication, mock.Anything, mock.Anything).Return(nil).Once()
	env.ExecuteWorkflow(Recover, RecoverInput{Group: "prod", Region: "west", Force: true})
	var r GroupResult
	if err := env.GetWorkflowResult(&r); err != nil || r.Group.Name != "prod" {
		t.Errorf("%+v, %v", r, err)
	}
	env.AssertExpectations(t)
}

func TestRecoverIsRefused(t *testing.T) {
	env := newEnv(t)
	env.RegisterWorkflow(Recover)
	env.ExecuteWorkflow(Recover, RecoverInput{Group: "prod"})
	if f := failureOf(t, env); f.Type != string(fault.Invalid) || !strings.Contains(f.Hint, "region") {
		t.Errorf("refused with %+v", f)
	}
}
