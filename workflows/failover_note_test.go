package workflows

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/mock"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// TestPlanNote: however many workspaces a group has, what is noted of a plan fits into a table's line.
func TestPlanNote(t *testing.T) {
	restored := activities.WorkspacePlan{Workspace: "a-name-that-goes-on-for-long", Snapshot: "20261123T040000-0198c9f27c1e7d3fa3c46a52e1b8a001", Host: "west-1", Bytes: 400_000_000}
	restored.Point.RecordEnd = 0x5A3F208
	serves, lost := restored, restored
	serves.Serving, lost.Error = &topology.Endpoint{}, "chunk 7 differs"
	for want, workspaces := range map[string][]activities.WorkspacePlan{
		"":                                   nil,
		"recovery point 0/5A3F208, 400.0 MB": {restored},
		"3 workspaces, 1.2 GB":               {restored, restored, restored},
		"1 workspace, 400.0 MB, 1 serving, 1 left behind": {serves, restored, lost},
		"2 serving": {serves, serves},
	} {
		if got := planNote(activities.FailoverPlan{Workspaces: workspaces}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Clients that know the address which was kept are told when it is another one.
func TestAnAddressThatIsNotTheKeptOneIsSaid(t *testing.T) {
	at := func(host string) *topology.Reservation {
		return &topology.Reservation{Endpoint: topology.Endpoint{Hosts: []topology.HostPort{{Host: host, Port: 5555}}}}
	}
	for name, c := range map[string]struct {
		kept *topology.Reservation
		says bool
	}{"none was kept": {nil, false}, "the one that was kept": {at("w"), false}, "another one": {at("elsewhere"), true}} {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			plan := onePlan
			plan.Workspaces = slices.Clone(onePlan.Workspaces)
			plan.Workspaces[0].Reserved = c.kept
			env.OnActivity(target.FixRecoveryPoint, mock.Anything, mock.Anything).Return(plan, nil)
			ended := answers(env)
			env.ExecuteWorkflow(Failover, FailoverInput{Group: "prod"})
			notes := strings.Join(ended.Workspaces[0].Notes, "\n")
			if strings.Contains(notes, "at w:5555 and not at elsewhere:5555") != c.says {
				t.Errorf("it says %q", notes)
			}
		})
	}
}
