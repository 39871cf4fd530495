package api

import (
	"context"
	"strings"
	"time"

	sdkpb "go.temporal.io/api/sdk/v1"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

const opRestore = "restore"

// RestoreRequest asks for the state of a workspace at another moment, as a branch with a server of its own.
type RestoreRequest struct {
	Group     string          `json:"group"`
	Workspace string          `json:"workspace,omitempty"` // may be left out when the group has one
	To        topology.Target `json:"to"`
	Branch    string          `json:"branch,omitempty"` // name of the branch; default: the workspace's, with the moment
	Region    string          `json:"region,omitempty"` // whose bucket and hosts; default: that which serves, then the other one
	ReadOnly  bool            `json:"readOnly,omitempty"`
	MaxGap    string          `json:"maxGap,omitempty"` // in place: the longest time without a writer, as "30s" (default)
}

// Restore makes a branch of a workspace at a point, and attaches it. tell is told each time that something else is being done. The zero
// target is refused: the newest state is what serves.
func (s *Service) Restore(ctx context.Context, req RestoreRequest, tell func(string)) (Branch, error) {
	g, err := s.Group(ctx, req.Group)
	if err != nil {
		return Branch{}, err
	}
	w, err := restored(g, req.Workspace)
	if err == nil {
		err = someTarget(req.To)
	}
	if err != nil {
		return Branch{}, err
	}
	in := workflows.CreateBranchInput{
		Group: g.Name, Name: req.Branch, Workspace: w.Name, Region: req.Region, At: req.To, Attach: true, ReadOnly: req.ReadOnly,
	}
	if in.Name == "" {
		moment := req.To.Time
		if moment.IsZero() {
			moment = s.opts.Now()
		}
		in.Name = g.FreeBranchName(w.Name, moment)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	told := s.tellDetails(ctx, workflows.BranchID(g.Name, in.Name), tell)
	v, err := s.CreateBranch(ctx, in)
	stop()
	<-told
	return v, err
}

// restored is the workspace that a request means.
func restored(g topology.Group, name string) (*topology.Workspace, error) {
	if name == "" && len(g.Workspaces) == 1 {
		name = g.Workspaces[0].Name
	}
	w := g.Workspace(name)
	switch {
	case name == "":
		return nil, fault.Newf(fault.Invalid, opRestore, "group %s has %d workspaces", g.Name, len(g.Workspaces)).WithHint("Name one with --workspace: %s.", strings.Join(g.WorkspaceNames(), ", "))
	case w == nil:
		return nil, fault.Newf(fault.Missing, opRestore, "group %s has no workspace %q", g.Name, name).
			WithHint("`smartdr workspace list --group %s` shows those that there are.", g.Name)
	}
	return w, nil
}

func someTarget(t topology.Target) error {
	if t.Latest() {
		return fault.Newf(fault.Invalid, opRestore, "to which point? None was named").
			WithHint("Give one of --to-time, --to-lsn, --to-xid and --to-name; `smartdr timeline` shows what can be restored.")
	}
	return t.Check()
}

// tellDetails says what a workflow shows as its current details, until ctx is done. The channel is closed then.
func (s *Service) tellDetails(ctx context.Context, workflow string, tell func(string)) <-chan struct{} {
	over := make(chan struct{})
	go func() {
		defer close(over)
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for last := ""; ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if now := s.detailsNow(ctx, workflow); now != last && now != "" {
				last = now
				tell(now)
			}
		}
	}()
	return over
}

// metadataQuery is what Temporal's SDK answers by itself for every workflow (internal.QueryTypeWorkflowMetadata there).
const metadataQuery = "__temporal_workflow_metadata"

// detailsNow is empty while the workflow says nothing, or cannot be asked.
func (s *Service) detailsNow(ctx context.Context, workflow string) string {
	c, err := s.dial(ctx)
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	v, err := c.QueryWorkflow(ctx, workflow, "", metadataQuery)
	var said sdkpb.WorkflowMetadata
	if err != nil || v.Get(&said) != nil {
		return ""
	}
	return said.GetCurrentDetails()
}
