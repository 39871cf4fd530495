package ship

import (
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/topology"
)

// databases are those of a server, and which of them are left out of a snapshot. What is left out is settled before
// the backup begins: a database that is made meanwhile is kept whole.
type databases struct {
	names map[uint32]string // by OID
	sizes map[uint32]int64  // estimates, for progress; 0 where unknown
	omit  map[uint32]bool

	inPlace []uint32 // tablespaces that lie in pg_tblspc itself
}

// firstNormalOID is the first that the server gives to what users make (FirstNormalObjectId in access/transam.h).
const firstNormalOID = 16384

var systemDatabases = []string{"postgres", "template0", "template1"}

// readDatabases asks the server for its databases. chosen are those to keep; empty means all.
func readDatabases(ctx context.Context, src topology.Source, chosen []string) (*databases, error) {
	d := &databases{names: map[uint32]string{}, sizes: map[uint32]int64{}, omit: map[uint32]bool{}}
	if err := d.refresh(ctx, src); err != nil {
		return nil, err
	}
	if len(chosen) == 0 {
		return d, nil
	}
	return d, d.choose(chosen)
}

// choose settles what is left out. System databases never are: PostgreSQL reads them at every start, and new databases
// are copied from them.
func (d *databases) choose(chosen []string) error {
	found := 0
	for oid, name := range d.names {
		if slices.Contains(chosen, name) {
			found++
			continue
		}
		if oid >= firstNormalOID && !slices.Contains(systemDatabases, name) {
			d.omit[oid] = true
		}
	}
	if found == len(chosen) {
		return nil
	}
	return fault.Newf(fault.Invalid, opSnapshot, "of the databases %q only %d exist on the server", chosen, found).
		WithHint("Configure replication again with the databases that are there.")
}

func (d *databases) omitted(oid uint32) bool { return d.omit[oid] }

// progress lists the databases as none is read yet, by OID.
func (d *databases) progress() []topology.DatabaseProgress {
	var out []topology.DatabaseProgress
	for _, oid := range slices.Sorted(maps.Keys(d.names)) {
		out = append(out, topology.DatabaseProgress{Name: d.names[oid], OID: oid, Replicated: !d.omit[oid], TotalBytes: d.sizes[oid]})
	}
	return out
}

// databasesQuery asks for sizes only where that is allowed: pg_database_size fails otherwise.
const databasesQuery = `SELECT oid, datname::text, CASE
	WHEN has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE') THEN coalesce(pg_database_size(oid), 0)
	ELSE 0 END FROM pg_database`

// inPlaceQuery asks for tablespaces without a location of their own (allow_in_place_tablespaces).
const inPlaceQuery = `SELECT oid FROM pg_tablespace WHERE pg_tablespace_location(oid) LIKE 'pg_tblspc/%'`

// refresh adds what the server has now.
func (d *databases) refresh(ctx context.Context, src topology.Source) error {
	conn, err := postgres.Open(ctx, src)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, _ := conn.Query(ctx, databasesQuery) // its error comes with the rows
	var row struct {
		oid  uint32
		name string
		size int64
	}
	_, err = pgx.ForEachRow(rows, []any{&row.oid, &row.name, &row.size}, func() error {
		d.names[row.oid], d.sizes[row.oid] = row.name, row.size
		return nil
	})
	if err != nil {
		return fault.New(fault.Transient, "list databases", err)
	}
	rows, _ = conn.Query(ctx, inPlaceQuery)
	if d.inPlace, err = pgx.CollectRows(rows, pgx.RowTo[uint32]); err != nil {
		return fault.New(fault.Transient, "list tablespaces", err)
	}
	return nil
}

// checkTablespaces refuses a backup that lacks an in-place tablespace: PostgreSQL 15 leaves them out without a word.
func (d *databases) checkTablespaces(sent []replication.Tablespace) error {
	for _, oid := range d.inPlace {
		if !slices.ContainsFunc(sent, func(ts replication.Tablespace) bool { return ts.OID == oid }) {
			return fault.Newf(fault.Invalid, opSnapshot, "the server leaves tablespace %d, which lies in pg_tblspc itself, out of base backups", oid).
				WithHint("Move what is in that tablespace to another one, or use PostgreSQL 16 or later.")
		}
	}
	return nil
}
