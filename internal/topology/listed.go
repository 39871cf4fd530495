package topology

import (
	"fmt"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

// ListedKind says what something is that is listed as a database.
type ListedKind string

const (
	// AttachedKind databases are those of a workspace's serving server.
	AttachedKind ListedKind = "attached"
	// SystemManagedKind databases are continuations of those of a region that was lost.
	SystemManagedKind ListedKind = "system-managed"
	// BranchKind is a branch, attached or not.
	BranchKind ListedKind = "branch"
)

// The states of what is listed besides a workspace's own databases, whose states are those of their replication.
const (
	// Receiving: what its server wrote has not all arrived, or it is not known whether it has.
	Receiving DatabaseState = "Receiving"
	// Complete: all that its server ever wrote is there.
	Complete DatabaseState = "Complete"
	// Detached: a branch without compute.
	Detached DatabaseState = "Detached"
	// Attached: a branch that clients can connect to.
	Attached DatabaseState = "Attached"
)

// Listed is a system-managed database or a branch, as lists show it.
type Listed struct {
	Workspace    string        `json:"workspace"`
	Name         string        `json:"name"`
	Kind         ListedKind    `json:"kind"`
	State        DatabaseState `json:"state"`
	Of           string        `json:"of,omitempty"` // the database, branch or system-managed database that it is of; empty: all of the workspace
	Region       string        `json:"region"`       // system-managed: that was lost; branch: where it lies
	At           wal.Position  `json:"at"`           // its recovery point; of a branch, where it begins
	Time         time.Time     `json:"time,omitzero"`
	Since        time.Time     `json:"since"`
	Transactions int64         `json:"transactions"` // system-managed: that the one that serves lacks, of its whole server
	Bytes        int64         `json:"bytes"`        // system-managed: of WAL, likewise
	ReadOnly     bool          `json:"readOnly,omitempty"`
	Endpoint     Endpoint      `json:"endpoint,omitzero"`     // attached branches: where clients connect
	Reason       string        `json:"reason,omitempty"`      // in a sentence: what waits, or why it does not move on
	Hint         string        `json:"hint,omitempty"`        // the command that comes next
	MissingRows  string        `json:"missingRows,omitempty"` // system-managed, where something waits: the command that lists the rows
}

// Listed returns the system-managed databases and the branches of a group, by what is known of the tails of its workspaces.
func (g *Group) Listed(tails []Tail) (all []Listed) {
	for _, w := range Waiting(g, tails) {
		all = append(all, w.listed(g))
	}
	for i := range g.Branches {
		all = append(all, g.Branches[i].listed(g.Name))
	}
	return all
}

// ListedOf is Listed of one workspace.
func (g *Group) ListedOf(workspace string, tails []Tail) []Listed {
	return slices.DeleteFunc(g.Listed(tails), func(l Listed) bool { return l.Workspace != workspace })
}

func (w Waits) listed(g *Group) Listed {
	l := Listed{
		Workspace: w.Workspace, Name: w.Name, Kind: SystemManagedKind, State: Receiving, Of: w.Database, Region: w.Region, At: w.At, Time: w.Time,
		Since: w.Since, Transactions: w.Commits, Bytes: w.Bytes, Reason: w.Sentence(), Hint: w.BranchCommand(g),
	}
	if w.Complete {
		l.State = Complete
	}
	if w.SomethingWaits() {
		l.MissingRows = w.MissingRowsCommand(g)
	}
	return l
}

// Sentence says what waits in a system-managed database, and whether more may come.
func (w Waits) Sentence() string {
	if w.Merged != nil {
		return w.mergedSentence()
	}
	switch {
	case w.NothingMissing():
		return "nothing missing: its server wrote nothing that the one which serves does not have"
	case w.Complete:
		return "complete: all that its server wrote has arrived"
	case w.Reason != "":
		return "goes on receiving: " + w.Reason
	}
	return "goes on receiving"
}

// SomethingWaits reports whether a system-managed database has what the one that serves lacks, or somebody has to decide about.
func (w Waits) SomethingWaits() bool {
	return !w.NothingMissing() && (w.Bytes > 0 || w.Merged != nil && w.Merged.Conflicts > 0)
}

// BranchCommand is the command that makes a branch of a system-managed database, which is the way to see into it.
func (s SystemManaged) BranchCommand(g *Group) string {
	return fmt.Sprintf("smartdr branch create --group %s --of %s --attach", g.Name, s.nameIn(g))
}

// MissingRowsCommand is the command that lists the rows of a system-managed database that the one which serves lacks.
func (s SystemManaged) MissingRowsCommand(g *Group) string {
	return fmt.Sprintf("smartdr missing-rows %s %s", g.Name, s.nameIn(g))
}

// nameIn is what names a system-managed database in its group: its name, with its workspace where another one is found by that.
func (s SystemManaged) nameIn(g *Group) string {
	if found := g.FindSystemManaged(s.Name); found != nil && found.Workspace != s.Workspace {
		return s.Workspace + "/" + s.Name
	}
	return s.Name
}

func (b *Branch) listed(group string) Listed {
	l := Listed{Workspace: b.Workspace, Name: b.Name, Kind: BranchKind, State: Detached, Of: b.origin(), Region: b.Region, At: b.Base.At, Time: b.Moment, Since: b.CreatedAt,
		Reason: b.Reason, Hint: fmt.Sprintf("smartdr branch attach --group %s %s", group, b.Name)}
	if a := b.Attached; a != nil {
		l.State, l.ReadOnly, l.Endpoint, l.Since = attachmentStates[a.State], a.ReadOnly, a.Endpoint, a.Since
		l.Hint = fmt.Sprintf("smartdr branch detach --group %s %s", group, b.Name)
		if a.Error != "" {
			l.Reason = a.Error
		}
	}
	return l
}

func (b *Branch) origin() string {
	if b.From != "" {
		return b.From
	}
	return b.Database
}

var attachmentStates = map[AttachmentState]DatabaseState{Attaching: "Attaching", AttachmentServes: Attached, Detaching: "Detaching"}
