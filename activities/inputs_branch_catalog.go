package activities

import "github.com/smartdr/smartdr/internal/topology"

// ResolveBranchInput asks where a branch would begin, in one region's bucket.
type ResolveBranchInput struct {
	Group     string          `json:"group"`
	Name      string          `json:"name,omitempty"`      // default: what it is of, with the moment
	Of        string          `json:"of,omitempty"`        // database, workspace/database, system-managed database or branch; empty: the workspace
	Workspace string          `json:"workspace,omitempty"` // may be left out when Of says it, or the group has one
	Region    string          `json:"region"`              // whose bucket
	At        topology.Target `json:"at,omitzero"`         // default: the newest point
	Reason    string          `json:"reason,omitempty"`    // why it is made, when nobody asked for it by name
}

// RecordBranchInput is a branch to record, with the point that was found for it.
type RecordBranchInput struct {
	Group  string          `json:"group"`
	Branch topology.Branch `json:"branch"`
}

// RecordBranchResult is a branch as it stands.
type RecordBranchResult struct {
	Branch topology.Branch `json:"branch"`
	Bytes  int64           `json:"bytes"` // that it has added to the bucket
}

// ForgetBranchInput names a branch, or a system-managed database, to forget.
type ForgetBranchInput struct {
	Group string `json:"group"`
	Name  string `json:"name"`
	Force bool   `json:"force,omitempty"` // a system-managed one, before all of it has arrived
}
