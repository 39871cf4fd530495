package activities

import (
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// PlanInPlaceInput asks what it takes to bring a workspace back to an earlier state where it serves.
type PlanInPlaceInput struct {
	Group     string          `json:"group"`
	Workspace string          `json:"workspace"`
	At        topology.Target `json:"at"`
	Refused   []string        `json:"refused,omitempty"` // hosts that cannot run it
}

// PlanInPlaceResult is what is restored, on which host, and what serves now.
type PlanInPlaceResult struct {
	Plan    WorkspacePlan `json:"plan"`
	Lineage string        `json:"lineage"` // that is written now
	Serving topology.Site `json:"serving"`
	Notes   []string      `json:"notes,omitempty"` // what is not as it was afterwards
}

// AwaitShippedInput asks to wait until the buckets have what a fenced server has told its clients.
type AwaitShippedInput struct {
	Group     string       `json:"group"`
	Workspace string       `json:"workspace"`
	Lineage   string       `json:"lineage"`
	Region    string       `json:"region"` // whose bucket must have it
	End       wal.Position `json:"end"`
}

// AwaitShippedResult says which buckets have it all. One that does not answer is not waited for.
type AwaitShippedResult struct {
	Regions []string `json:"regions"`
}

// ReplaceInput makes a restored server the workspace's serving one, instead of the one that wrote Left.
type ReplaceInput struct {
	RestoreInput
	Attached Attached        `json:"attached"`
	Left     string          `json:"left"`   // lineage
	Before   topology.Branch `json:"before"` // the state that is left
}

// GoBackInPlaceInput names an operation that is to replace nothing any more.
type GoBackInPlaceInput struct {
	Group     string `json:"group"`
	Workspace string `json:"workspace"`
	Operation string `json:"operation"`
	Lineage   string `json:"lineage"` // that its server would write
}

// GoBackInPlaceResult says whether that comes too late.
type GoBackInPlaceResult struct {
	Replaced bool `json:"replaced,omitempty"`
}

// RetireReplacedInput names a server that an earlier state of the workspace has replaced.
type RetireReplacedInput struct {
	RetireInput
	Lineage string `json:"lineage"` // that it wrote
}
