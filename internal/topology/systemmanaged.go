package topology

import (
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

// SystemManaged is the detached continuation of a database of a region that was lost: it goes on receiving WAL that was written there and had
// not arrived. It can't be attached; branches of it can.
type SystemManaged struct {
	Name      string       `json:"name"` // <database>_<moment of the failover, as 20261122T221000Z>
	Workspace string       `json:"workspace"`
	Database  string       `json:"database"`
	Lineage   string       `json:"lineage"` // that its server wrote, and perhaps still writes
	Fork      wal.Position `json:"fork"`    // where the lineage that serves left it
	Operation string       `json:"operation"`
	Region    string       `json:"region"` // that was lost
	Since     time.Time    `json:"since"`
	// Needs is from where on WAL of what leads to Fork is kept to find missing rows: a transaction that was open at Fork may have begun there, and
	// may have committed on Lineage. 0: nobody knows yet, and none of it is removed that is there.
	Needs wal.LSN `json:"needs,omitempty"`
	// Back says by region whether its bucket had WAL back to there when that was looked for. Where not, tables are compared as a whole.
	Back map[string]bool `json:"back,omitempty"`
	// Merged is the last merge of it into the database that serves; nil: there was none.
	Merged *Merged `json:"merged,omitempty"`
}

// SystemManagedName is the name of the system-managed continuation of a database.
func SystemManagedName(database string, failover time.Time) string {
	return database + "_" + failover.UTC().Format("20060102T150405Z")
}

// FindSystemManaged returns the system-managed database of that name, or nil. Where two workspaces have one of the same name it is found as
// "workspace/name", and the name alone finds the first.
func (g *Group) FindSystemManaged(name string) *SystemManaged {
	workspace, plain := SplitDatabase(name)
	for i := range g.SystemManaged {
		s := &g.SystemManaged[i]
		if s.Name == name || s.Workspace == workspace && s.Name == plain {
			return s
		}
	}
	return nil
}

// Continued says of which databases of a workspace a failover leaves a continuation behind.
type Continued struct {
	Workspace string
	Lineage   string    // that the workspace wrote until the failover
	Databases []string  // that were attached and active then
	Fenced    Fence     // what is known of the server that wrote Lineage; zero: nothing
	Operation string    // the failover
	At        time.Time // when it began: the moment in the names, where another workspace has not given it one yet
}

// Continue adds the system-managed databases that a failover leaves behind, after it has made another lineage the workspace's own. It
// does nothing when that was done before, or when the old server is known to have written nothing that the new lineage lacks.
func (g *Group) Continue(c Continued) {
	left, ok := g.FindLeft(c.Workspace, c.Lineage)
	w := g.Workspace(c.Workspace)
	if !ok || w.State != WorkspaceActive || c.Fenced.nothingBehind(left) {
		return
	}
	moment := g.momentOf(c.Operation, c.At)
	names, all := g.Replication.Chosen(c.Workspace)
	for _, database := range c.Databases {
		chosen := slices.Contains(names, database) || all && !slices.Contains(SystemDatabases, database)
		if !chosen || g.continues(left, database) {
			continue
		}
		g.SystemManaged = append(g.SystemManaged, SystemManaged{
			Name: SystemManagedName(database, moment), Workspace: c.Workspace, Database: database, Lineage: left.Lineage.ID, Fork: left.Fork,
			Operation: c.Operation, Region: left.Lineage.Region, Since: moment,
		})
	}
}

// momentOf is the one moment of all that a failover leaves behind, however often it was resumed.
func (g *Group) momentOf(operation string, began time.Time) time.Time {
	for _, s := range g.SystemManaged {
		if s.Operation == operation {
			return s.Since
		}
	}
	return began.UTC().Truncate(time.Second)
}

func (g *Group) continues(left Left, database string) bool {
	return slices.ContainsFunc(g.SystemManaged, func(s SystemManaged) bool {
		return s.Workspace == left.Workspace && s.Lineage == left.Lineage.ID && s.Database == database
	})
}

// nothingBehind reports whether a server is known to have ended no later than where it was left, and to take no writes since.
func (f Fence) nothingBehind(left Left) bool {
	return f.Lineage == left.Lineage.ID && f.State == FenceCommitted && f.Worth == FenceProven && f.End.LSN != 0 && f.End.LSN <= left.Fork.LSN
}

// Waits is what a system-managed database has that the one that serves lacks. Merged is nil where what serves lacks that merge.
type Waits struct {
	SystemManaged
	// At is its recovery point: the end of what a bucket holds of it. Fork while nothing has arrived.
	At       wal.Position `json:"at"`
	Time     time.Time    `json:"time,omitzero"` // of the last transaction of it that the other one lacks
	Commits  int64        `json:"commits"`       // of its whole server, since Fork, or since what was merged
	Bytes    int64        `json:"bytes"`         // of WAL, likewise
	Complete bool         `json:"complete"`      // nothing more will arrive
	Reason   string       `json:"reason,omitempty"`
}

// NothingMissing reports whether the database that serves has all that there ever was.
func (w Waits) NothingMissing() bool {
	return w.Complete && w.Commits == 0 && (w.Merged == nil || w.Merged.Conflicts == 0)
}

// WithTail returns how far a system-managed database is, by what is known of its lineage's tail.
func (s SystemManaged) WithTail(tails []Tail) Waits {
	w := Waits{SystemManaged: s, At: s.Fork}
	for _, t := range tails {
		if t.Workspace != s.Workspace || t.Lineage != s.Lineage {
			continue
		}
		if t.At.Compare(w.At) > 0 {
			w.At = t.At
		}
		w.Time, w.Commits, w.Bytes, w.Complete, w.Reason = t.Last, t.Commits, t.Bytes(), t.Complete, t.Error
	}
	return w
}

// tails are those of all workspaces.
func (s GroupStatus) tails() (all []Tail) {
	for _, w := range s.Workspaces {
		all = append(all, w.Tails...)
	}
	return all
}

// Waiting returns how far the system-managed databases of a group are, in the order in which they came to be.
func (s GroupStatus) Waiting() []Waits { return Waiting(&s.Group, s.tails()) }

// Listed returns the system-managed databases and the branches of a group.
func (s GroupStatus) Listed() []Listed { return s.Group.Listed(s.tails()) }

// Waiting is GroupStatus.Waiting by the tails of the group's workspaces.
func Waiting(g *Group, tails []Tail) (all []Waits) {
	for _, s := range g.SystemManaged {
		all = append(all, s.WithTail(tails).less(s.standing(g)))
	}
	return all
}
