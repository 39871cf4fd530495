package ship

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
)

// Choice says which databases of a server are replicated. Its zero value is all, present and future ones.
type Choice struct {
	Only  bool // those of Names, which may be none
	Names []string
}

// Inventory is what a server has now, as far as a snapshot must bring it back.
type Inventory struct {
	Databases   []Database // by OID
	Tablespaces []Tablespace
	Absent      []string // chosen, and not there
}

// Database is one of a server's.
type Database struct {
	Name string
	OID  uint32
	Size int64 // estimate in bytes; 0 where unknown
	Kept bool  // whole in snapshots: chosen, or one that others are made of
}

// Tablespace is one besides the default ones.
type Tablespace struct {
	OID     uint32
	Name    string
	InPlace bool // lies in pg_tblspc itself (allow_in_place_tablespaces)
}

// Look asks a server for its databases and tablespaces.
func Look(ctx context.Context, src topology.Source, choice Choice) (Inventory, error) {
	conn, err := postgres.Open(ctx, src)
	if err != nil {
		return Inventory{}, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only read from
	var inv Inventory
	if inv.Databases, err = choice.databases(ctx, conn); err != nil {
		return Inventory{}, fault.New(fault.Transient, "list databases", err)
	}
	rows, _ := conn.Query(ctx, tablespacesQuery) // its error comes with the rows
	if inv.Tablespaces, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Tablespace]); err != nil {
		return Inventory{}, fault.New(fault.Transient, "list tablespaces", err)
	}
	for _, name := range choice.Names {
		if !slices.ContainsFunc(inv.Databases, func(d Database) bool { return d.Name == name }) {
			inv.Absent = append(inv.Absent, name)
		}
	}
	return inv, nil
}

// databasesQuery asks for sizes only where that is allowed: pg_database_size fails otherwise. What DROP DATABASE left when it
// was interrupted has no size to speak of.
const databasesQuery = `SELECT datname::text, oid, CASE
	WHEN datconnlimit <> -2 AND (has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')) THEN coalesce(pg_database_size(oid), 0)
	ELSE 0 END, datistemplate FROM pg_database ORDER BY oid`

const tablespacesQuery = `SELECT oid, spcname::text, pg_tablespace_location(oid) LIKE 'pg_tblspc/%' FROM pg_tablespace
	WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY oid`

func (c Choice) databases(ctx context.Context, conn *pgx.Conn) ([]Database, error) {
	rows, _ := conn.Query(ctx, databasesQuery) // its error comes with the rows
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (d Database, err error) {
		var template bool
		err = row.Scan(&d.Name, &d.OID, &d.Size, &template)
		d.Kept = !c.Only || template || slices.Contains(c.Names, d.Name) || IsSystem(d.Name, d.OID)
		return d, err
	})
}

// firstNormalOID is the first that the server gives to what users make (FirstNormalObjectId in access/transam.h).
const firstNormalOID = 16384

// IsSystem reports whether a database is one that a server cannot do without.
func IsSystem(name string, oid uint32) bool {
	return oid < firstNormalOID || slices.Contains(topology.SystemDatabases, name)
}

// BringsBack reports whether a snapshot and the WAL after it bring a database back. One that it does not know was made
// since and is all in the WAL, unless something was left out: a copy of that, file by file, is zeros.
func BringsBack(m *snapshot.Manifest, oid uint32) bool {
	leftOut := false
	for _, d := range m.Databases {
		if d.OID == oid {
			return d.Replicated
		}
		leftOut = leftOut || !d.Replicated
	}
	return !leftOut
}

// Lacks says in sentences why a snapshot does not bring back all that should be, so that another one must be taken.
func (inv Inventory) Lacks(m *snapshot.Manifest) (why []string) {
	for _, d := range inv.Databases {
		if d.Kept && !BringsBack(m, d.OID) {
			why = append(why, fmt.Sprintf("database %s is not in snapshot %s", d.Name, m.ID))
		}
	}
	for _, ts := range inv.Tablespaces {
		if !slices.ContainsFunc(m.Tablespaces, func(there snapshot.Tablespace) bool { return there.OID == ts.OID }) {
			why = append(why, fmt.Sprintf("tablespace %s was made after snapshot %s: recovery needs its folder", ts.Name, m.ID))
		}
	}
	return why
}
