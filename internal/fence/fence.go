// Package fence keeps everybody from writing to a PostgreSQL server, by SQL alone, and lets them write again.
package fence

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// Options say what is fenced, and for whom.
type Options struct {
	Lineage topology.Lineage // that the server writes
	// By is who asks: an operation's ID, "self", or "epoch-2". Only the one who fenced last lifts.
	By string
	// ForGood fences are not meant to be lifted: what takes effect with a restart alone is set, too.
	ForGood bool
	// Newer are the points where lineages began that are newer: a server whose history has one of them is not the one that
	// is to be fenced, but the one that serves now.
	Newer []wal.Position
}

// Result is what a fence came to.
type Result struct {
	Worth  topology.FenceWorth
	Means  []string // what is in force, in words
	Reason string   // why it is worth no more
	// End is the server's flush position when the last session of a client had ended; zero when one has not, or when
	// another could begin.
	End    wal.Position
	Before map[string]*string // the server's own values of the settings that were replaced
}

// Apply fences a server. It can be called again and again, also where it was killed half-way.
func Apply(_ context.Context, _ topology.Source, _ Options) (Result, error) {
	return Result{}, fault.Newf(fault.Invalid, "fence server", "not there yet")
}

// Check reports whether a fence is in force as a whole, without changing anything.
func Check(_ context.Context, _ topology.Source, _ Options) (bool, error) {
	return false, fault.Newf(fault.Invalid, "check fence", "not there yet")
}

// Lift puts everything back as it was before Apply by the same one. Where somebody else fenced since, it changes nothing.
func Lift(_ context.Context, _ topology.Source, _ Options) error {
	return fault.Newf(fault.Invalid, "lift fence", "not there yet")
}

// OnDisk fences a server that is down, so that its next start is fenced.
func OnDisk(_ *postgres.Server, _ Options) error {
	return fault.Newf(fault.Invalid, "fence server", "not there yet")
}
