package topology

import (
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

// Branch is a writable copy of a workspace's databases at a point of a lineage. Until it is written it is no more than this value: what it
// needs is what the region's bucket holds already, and retention keeps that as long as the branch is there.
type Branch struct {
	Name      string `json:"name"`               // one of a kind in its group
	Workspace string `json:"workspace"`          // whose lineages it comes from, and whose keys its own WAL lies under
	Database  string `json:"database,omitempty"` // the one that it was made of; empty: all of the workspace
	From      string `json:"from,omitempty"`     // the branch or system-managed database that it was made of; empty: the workspace itself
	Region    string `json:"region"`             // whose bucket has what it needs, and takes what is written to it
	// Line are the lineages between the workspace's own and the branch's newest one, oldest first: those of the branches that it comes from,
	// then its own. The first one's parent is a lineage of the workspace. Empty until it, or one that it comes from, was written.
	Line []Lineage `json:"line,omitempty"`
	// Base is where it begins. It is the newest point of the branch as well, until it was attached read-write: then that is the end of the
	// last lineage of Line, if that one's parent is at or behind Base.
	Base      Fork        `json:"base"`
	Moment    time.Time   `json:"moment,omitzero"` // of the last commit at or before Base
	CreatedAt time.Time   `json:"createdAt"`
	Reason    string      `json:"reason,omitempty"`   // why it is there, when nobody asked for it by name: "state before restore in place"
	Attached  *Attachment `json:"attached,omitempty"` // nil: detached
	Own       int         `json:"own,omitempty"`      // how many of the last lineages of Line were written by this branch
}

// AttachmentState is where the compute of a branch stands.
type AttachmentState string

const (
	// Attaching branches are being brought up.
	Attaching AttachmentState = "attaching"
	// AttachmentServes means that clients can connect.
	AttachmentServes AttachmentState = "attached"
	// Detaching branches are being taken down; what was written is in the bucket, or on its way.
	Detaching AttachmentState = "detaching"
)

// Attachment is the compute of a branch: one server on one host.
type Attachment struct {
	ID       string          `json:"id"` // of this attachment, and of its folder on the host: 8 hexadecimal digits
	State    AttachmentState `json:"state"`
	ReadOnly bool            `json:"readOnly,omitempty"` // it replays to its point and stays a standby, which nobody can write to
	Lineage  string          `json:"lineage,omitempty"`  // read-write: the one that it writes
	Host     string          `json:"host"`
	Instance string          `json:"instance,omitempty"` // folder on the host
	Size     Size            `json:"size,omitzero"`
	Source   Source          `json:"source,omitzero"` // how SmartDR reaches it, from its host
	Endpoint Endpoint        `json:"endpoint,omitzero"`
	Since    time.Time       `json:"since"`
	Links    []Link          `json:"links,omitempty"`
	Error    string          `json:"error,omitempty"` // why it does not serve, or is not gone yet
	Hint     string          `json:"hint,omitempty"`
}

// Link is a schema of foreign tables in a database that serves, through which SQL there sees a database of the branch.
type Link struct {
	Database string    `json:"database"` // that holds the schema, of the branch's workspace
	Of       string    `json:"of"`       // the branch's database that it shows
	Schema   string    `json:"schema"`
	Server   string    `json:"server"` // the foreign server's name
	Since    time.Time `json:"since"`
}

// Tip is the lineage in which the branch goes on, and its newest point there: Base while it is not written, and the end of its last lineage
// when that is fixed. Else at is zero: where that one ends is for the bucket to say.
func (b *Branch) Tip() (lineage string, at wal.Position) {
	if b.Own == 0 {
		return b.Base.Lineage, b.Base.At
	}
	last := b.Line[len(b.Line)-1]
	return last.ID, last.Ends()
}

// Written reports whether the branch has WAL of its own.
func (b *Branch) Written() bool { return b.Own > 0 }

// Branch returns the branch of that name, or nil.
func (g *Group) Branch(name string) *Branch {
	for i := range g.Branches {
		if g.Branches[i].Name == name {
			return &g.Branches[i]
		}
	}
	return nil
}

// FindLineage returns a lineage of a workspace or of one of its branches, or nil.
func (g *Group) FindLineage(workspace, id string) *Lineage {
	w := g.Workspace(workspace)
	if w == nil {
		return nil
	}
	if l := w.FindLineage(id); l != nil {
		return l
	}
	for i := range g.Branches {
		if b := &g.Branches[i]; b.Workspace == workspace {
			for n := range b.Line {
				if b.Line[n].ID == id {
					return &b.Line[n]
				}
			}
		}
	}
	return nil
}

// Ancestry returns a lineage of a workspace, or of one of its branches, after all that it comes from: oldest first. It begins with one that
// has no parent, or whose parent is not known any more.
func (g *Group) Ancestry(workspace, id string) (line []Lineage) {
	for l := g.FindLineage(workspace, id); l != nil; l = g.FindLineage(workspace, l.Parent.Lineage) {
		line = append(line, *l)
		if l.Parent == nil {
			break
		}
	}
	slices.Reverse(line)
	return line
}
