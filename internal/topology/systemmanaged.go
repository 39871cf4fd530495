package topology

import (
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
