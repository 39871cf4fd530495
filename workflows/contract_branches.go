package workflows

import (
	"time"

	"github.com/smartdr/smartdr/internal/topology"
)

// The workflow types of branches, restores to a point in time, retention and checks.
const (
	CreateBranchType      = "CreateBranch"      // CreateBranchInput -> BranchResult
	AttachBranchType      = "AttachBranch"      // AttachBranchInput -> BranchResult
	DetachBranchType      = "DetachBranch"      // DetachBranchInput -> BranchResult
	DropBranchType        = "DropBranch"        // DropBranchInput -> GroupResult; drops a system-managed database too
	LinkBranchType        = "LinkBranch"        // LinkBranchInput -> BranchResult
	BranchReplicationType = "BranchReplication" // BranchReplicationInput; runs while a branch is attached read-write
	RestoreType           = "Restore"           // RestoreInput -> RestoreResult
	SearchType            = "Search"            // SearchInput -> SearchResult
	SnapshotType          = "Snapshot"          // SnapshotInput -> GroupResult; takes one now
	RetentionType         = "Retention"         // RetentionInput; a child of Replication, per region
	VerifyType            = "Verify"            // VerifyInput -> VerifyResult
)

// BranchID is the workflow id of what changes a branch, or a system-managed database: one thing at a time.
func BranchID(group, name string) string { return id(group, "branch/"+name) }

// BranchReplicationID is the workflow id of what brings a branch's own WAL to the bucket.
func BranchReplicationID(group, name string) string { return id(group, "branch/"+name+"/replication") }

// RestoreID is the workflow id of a restore in place.
func RestoreID(group string) string { return id(group, "restore") }

// RetentionID is the workflow id of what removes from a region's bucket what nothing needs any more.
func RetentionID(group, region string) string { return id(group, "retention/"+region) }

// VerifyID is the workflow id of a check of what a region's bucket holds.
func VerifyID(group, region string) string { return id(group, "verify/"+region) }

// CreateBranchInput asks for a branch.
type CreateBranchInput struct {
	Group string `json:"group"`
	Name  string `json:"name,omitempty"` // default: what it is of, with the moment: "app-20261122t221000"
	// Of is what to branch: "database", "workspace/database", a system-managed database, or another branch. Empty: all of the workspace.
	Of        string          `json:"of,omitempty"`
	Workspace string          `json:"workspace,omitempty"` // may be left out when Of says it, or the group has one
	Region    string          `json:"region,omitempty"`    // whose bucket; default: the region that serves, then the other one, the first that can
	At        topology.Target `json:"at,omitzero"`         // default: the newest point
	Attach    bool            `json:"attach,omitempty"`
	ReadOnly  bool            `json:"readOnly,omitempty"` // with Attach
}

// AttachBranchInput asks for compute for a branch.
type AttachBranchInput struct {
	Group    string `json:"group"`
	Branch   string `json:"branch"`
	ReadOnly bool   `json:"readOnly,omitempty"`
	Host     string `json:"host,omitempty"` // default: any of the branch's region with room for it
	Size     string `json:"size,omitempty"` // topology.ParseSize; default: the workspace's
}

// DetachBranchInput asks to take a branch's compute away; what was written to it stays in the bucket.
type DetachBranchInput struct {
	Group  string `json:"group"`
	Branch string `json:"branch"`
	// Discard gives up what was written since it was attached and has not reached the bucket, if that does not answer, or the host is lost.
	Discard bool `json:"discard,omitempty"`
}

// DropBranchInput asks to forget a branch or a system-managed database.
type DropBranchInput struct {
	Group string `json:"group"`
	Name  string `json:"name"`
	Force bool   `json:"force,omitempty"` // even if it is attached; or, of a system-managed one, before all of it has arrived
}

// LinkBranchInput asks to show a branch's database in one that serves, as a schema of foreign tables, or with Unlink to end that.
type LinkBranchInput struct {
	Group    string `json:"group"`
	Branch   string `json:"branch"`
	Of       string `json:"of,omitempty"`       // database of the branch; default: the one it was made of
	Database string `json:"database,omitempty"` // of the workspace that serves; default: of the same name
	Schema   string `json:"schema,omitempty"`   // default: the branch's name
	Unlink   bool   `json:"unlink,omitempty"`
}

// BranchReplicationInput names an attached branch.
type BranchReplicationInput struct {
	Group      string `json:"group"`
	Branch     string `json:"branch"`
	Attachment string `json:"attachment"` // ends when the branch has another one
	Region     string `json:"region"`
	Host       string `json:"host"`
}

// BranchResult is a branch as it stands.
type BranchResult struct {
	Branch topology.Branch `json:"branch"`
	// Bytes that it has added to the bucket: its document, and what was written to it.
	Bytes int64    `json:"bytes"`
	Notes []string `json:"notes,omitempty"` // what is otherwise than on the server that it comes from
}

// RestoreInput asks for the state of a workspace at another moment.
type RestoreInput struct {
	Group     string          `json:"group"`
	Workspace string          `json:"workspace,omitempty"` // may be left out when the group has one
	At        topology.Target `json:"at"`
	Branch    string          `json:"branch,omitempty"`  // name of the new branch; default: of the moment
	Region    string          `json:"region,omitempty"`  // whose bucket; default: as CreateBranchInput
	InPlace   bool            `json:"inPlace,omitempty"` // instead of what serves; the state before stays as a branch
	MaxGap    string          `json:"maxGap,omitempty"`  // in place: longest time without a writer, as "30s" (default); after it everything goes back
}

// RestoreResult is where the state of that moment is.
type RestoreResult struct {
	Branch    *topology.Branch    `json:"branch,omitempty"`    // that has it; with InPlace, that has the state before
	Operation *topology.Operation `json:"operation,omitempty"` // of a restore in place
	Notes     []string            `json:"notes,omitempty"`
}

// SearchInput asks for the last moment at which a query returned rows.
type SearchInput struct {
	Group     string    `json:"group"`
	Workspace string    `json:"workspace,omitempty"`
	Database  string    `json:"database"`
	Query     string    `json:"query"` // one statement, run read-only
	Region    string    `json:"region,omitempty"`
	From      time.Time `json:"from,omitzero"` // default: where the region's window begins
	To        time.Time `json:"to,omitzero"`   // default: now
}

// SearchResult is the moment that was found.
type SearchResult struct {
	Found bool `json:"found"`
	// Last is the last commit after which the query returned rows, Next the one after which it returned none.
	LastLSN  string    `json:"lastLSN,omitempty"`
	LastTime time.Time `json:"lastTime,omitzero"`
	NextLSN  string    `json:"nextLSN,omitempty"`
	NextTime time.Time `json:"nextTime,omitzero"`
	NextXID  uint32    `json:"nextXID,omitempty"`
	Looked   int       `json:"looked"` // at how many points the query ran
	Notes    []string  `json:"notes,omitempty"`
}

// SnapshotInput asks for a snapshot now.
type SnapshotInput struct {
	Group     string `json:"group"`
	Workspace string `json:"workspace,omitempty"` // default: all
}

// RetentionInput asks to remove what a region's bucket holds and nothing needs.
type RetentionInput struct {
	Group  string `json:"group"`
	Region string `json:"region"`
	DryRun bool   `json:"dryRun,omitempty"` // only say what would go
	// GraceMinutes is how long an object that nothing refers to stays, since somebody may be about to; default 60.
	GraceMinutes *int `json:"graceMinutes,omitempty"`
}

// VerifyInput asks to check what a region's bucket holds of a group.
type VerifyInput struct {
	Group  string `json:"group"`
	Region string `json:"region,omitempty"` // default: every region of the group
	// Read is how much of the contents is read back: "none", "sample" (default; what is newest, and a hundredth of the rest) or "all".
	Read string `json:"read,omitempty"`
	Seed uint64 `json:"seed,omitempty"` // of the sample, as an earlier result gives it; default: any
}
