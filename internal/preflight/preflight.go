// Package preflight looks at a server before it is replicated, and says in sentences what stands in the way and what
// an operator should know.
package preflight

import (
	"context"
	"errors"

	"github.com/smartdr/smartdr/internal/topology"
)

// Options are what the server will be used for.
type Options struct {
	SlotName  string   // of our physical slot; it may be there already
	AppName   string   // application_name of our connections
	Databases []string // to be replicated; empty means all
}

// Report is what was found.
type Report struct {
	Facts    Facts     `json:"facts"`
	Problems []Finding `json:"problems,omitempty"` // replication cannot work until they are gone
	Warnings []Finding `json:"warnings,omitempty"` // it works, and something about it should be known
}

// Finding is one sentence, and what to do.
type Finding struct {
	Code string `json:"code"` // stable, as "wal-level"
	Text string `json:"text"`
	Todo string `json:"todo,omitempty"`
}

func (f Finding) String() string { return f.Text + " " + f.Todo }

// Check connects to a source and looks. What is wrong with the source is in the report; an error means that looking failed
// for another reason, as when ctx ended.
func Check(ctx context.Context, src topology.Source, opts Options) (Report, error) {
	return Report{}, errors.New("not built yet")
}

// Err returns nil without problems, else one fault.Invalid error that holds them all.
func (r Report) Err() error { return nil }

type Facts struct{}
