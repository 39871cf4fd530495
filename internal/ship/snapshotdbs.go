package ship

import (
	"slices"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/topology"
)

// databases are those of a server, and which of them are left out of a snapshot. What is left out is settled before
// the backup begins: a database that is made meanwhile is kept whole.
type databases struct {
	Inventory
	omit map[uint32]bool
}

func newDatabases(inv Inventory) *databases {
	d := &databases{Inventory: inv, omit: map[uint32]bool{}}
	for _, database := range inv.Databases {
		if !database.Kept {
			d.omit[database.OID] = true
		}
	}
	return d
}

func (d *databases) omitted(oid uint32) bool { return d.omit[oid] }

// progress lists the databases as none is read yet, by OID.
func (d *databases) progress() []topology.DatabaseProgress {
	var out []topology.DatabaseProgress
	for _, database := range d.Databases {
		out = append(out, topology.DatabaseProgress{Name: database.Name, OID: database.OID, Replicated: database.Kept, TotalBytes: database.Size})
	}
	return out
}

// checkTablespaces refuses a backup that lacks an in-place tablespace: PostgreSQL 15 leaves them out without a word.
func (d *databases) checkTablespaces(sent []replication.Tablespace) error {
	for _, there := range d.Tablespaces {
		if there.InPlace && !slices.ContainsFunc(sent, func(ts replication.Tablespace) bool { return ts.OID == there.OID }) {
			return fault.Newf(fault.Invalid, opSnapshot, "the server leaves tablespace %s, which lies in pg_tblspc itself, out of base backups", there.Name).
				WithHint("Move what is in that tablespace to another one, or use PostgreSQL 16 or later.")
		}
	}
	return nil
}
