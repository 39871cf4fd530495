package topology

import "github.com/smartdr/smartdr/internal/fault"

// WorkspaceState says what a workspace does, or is about to do.
type WorkspaceState string

const (
	// WorkspaceActive workspaces serve, or ought to.
	WorkspaceActive WorkspaceState = ""
	// WorkspacePending workspaces are being made; Reason says what went wrong when that failed.
	WorkspacePending WorkspaceState = "pending"
	// WorkspaceSuspending workspaces end their server once everything is shipped.
	WorkspaceSuspending WorkspaceState = "suspending"
	// WorkspaceSuspended workspaces have no server running; their files and what is in the buckets stay.
	WorkspaceSuspended WorkspaceState = "suspended"
	// WorkspaceTerminating workspaces are being taken down.
	WorkspaceTerminating WorkspaceState = "terminating"
	// WorkspaceTerminated workspaces are over. What is in the buckets stays until its retention ends.
	WorkspaceTerminated WorkspaceState = "terminated"
)

// Managed reports whether SmartDR runs the workspace's server in region.
func (w *Workspace) Managed(region string) bool { return w.Sites[region].Kind == Managed }

// Replicates reports whether the workspace has a server in region whose WAL is to be shipped: one that is ending goes on
// shipping until it has ended.
func (w *Workspace) Replicates(region string) bool {
	_, placed := w.Sites[region]
	return placed && (w.State == WorkspaceActive || w.State == WorkspaceSuspending || w.State == WorkspaceTerminating)
}

// Recoverable reports whether a failover brings the workspace back: it was replicated and is not over.
func (w *Workspace) Recoverable() bool {
	return w.State != WorkspaceTerminated && w.State != WorkspaceTerminating && w.State != WorkspacePending
}

// Changeable returns nil if the group may be changed now. It is fault.Missing for one that is over, and fault.Taken for one
// that an operation holds.
func (g *Group) Changeable(op string) error {
	switch {
	case g.State == GroupTerminated:
		return fault.Newf(fault.Missing, op, "group %s is terminated", g.Name).
			WithHint("What is in the buckets stays until its retention ends. A new group needs another name.")
	case g.Operation != nil:
		return fault.Newf(fault.Taken, op, "%s %s of group %s is under way since %s",
			g.Operation.Kind, g.Operation.ID, g.Name, g.Operation.StartedAt.UTC().Format("15:04:05 UTC")).
			WithHint("`smartdr operations --group %s %s` shows how far it is.", g.Name, g.Operation.ID)
	}
	return nil
}
