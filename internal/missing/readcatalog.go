package missing

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
)

// database is one of a server, as pg_database has it.
type database struct {
	OID        uint32
	Name       string
	Tablespace uint32
	Connect    bool // it lets somebody in
	Template   bool
}

// catalog is what one database says of its tables at one moment.
type catalog struct {
	Database  database
	Relations map[uint32]*relation
	Items     []item                   // what schema drift is told by
	Values    map[uint32]sequenceValue // of sequences; nil: they were not read
	Kept      map[uint32]uint64        // how many old row versions the folder has, by OID of what tables are listed as
}

// relation is a table, a sequence or a materialized view.
type relation struct {
	OID         uint32
	Schema      string
	Name        string
	Kind        string // relkind
	Persistence string
	Partition   bool
	Root        uint32 // of a partition tree, also of the root itself; 0: it is in none
	Method      string // the access method's name
	Heap        bool
	Node        Node  // its file; Relation is 0 when it has none
	Rows        int64 // as estimated by statistics
	Columns     []attribute
	Keys        []key
}

// attribute is a column of a relation.
type attribute struct {
	Number    int16
	Name      string
	Type      string
	Generated string // attgenerated
	Identity  string
	Text      bool // its type has no equality
}

// key is a unique index that names each row of its table.
type key struct {
	Index   uint32
	Primary bool
	Columns []int16
}

// Large objects are rows of these catalogs.
const (
	largeObjects     = 2613
	largeObjectOwner = 2995
)

const sharedTablespace = 1664

// ours is the condition for relations that hold rows of users. Temporary ones are of one session, and gone after a crash.
const ours = `(c.relkind in ('r','p','m','f','S') and c.relpersistence <> 't' and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'
	or c.oid in (2613, 2995))`

const relationsSQL = `select c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text, c.relispartition,
	coalesce(pg_partition_root(c.oid)::oid, 0), coalesce(a.amname::text, ''), coalesce(a.amhandler::regproc::text = 'heap_tableam_handler', false),
	coalesce(nullif(c.reltablespace, 0), d.dattablespace), d.oid, coalesce(pg_relation_filenode(c.oid), 0),
	greatest(c.reltuples, 0)::int8
	from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_am a on a.oid = c.relam
	join pg_database d on d.datname = current_database() where ` + ours

const columnsSQL = `select a.attrelid, a.attnum, a.attname::text, format_type(a.atttypid, a.atttypmod), a.atttypid, a.attgenerated::text, a.attidentity::text
	from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
	where a.attnum > 0 and not a.attisdropped and ` + ours + ` order by 1, 2`

// keysSQL lists indexes that name rows: of all rows, checked at once, and over columns that are not null. The best one of a table is first.
const keysSQL = `select i.indrelid, i.indexrelid, i.indisprimary, (i.indkey::int2[])[0:i.indnkeyatts - 1]
	from pg_index i join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace
	where i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null and ` + ours + ` and
	not exists (select from unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) k left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k
		where a.attnotnull is not true)
	order by 1, 3 desc, i.indnkeyatts, 2`

// readDatabases lists a server's databases.
func readDatabases(ctx context.Context, conn *pgx.Conn) ([]database, error) {
	var all []database
	var d database
	err := each(ctx, conn, `select oid, datname::text, dattablespace, datallowconn, datistemplate from pg_database order by oid`,
		[]any{&d.OID, &d.Name, &d.Tablespace, &d.Connect, &d.Template}, func() { all = append(all, d) })
	return all, err
}

// readCatalog reads the catalogs of the database that the connection is to.
func readCatalog(ctx context.Context, conn *pgx.Conn, d database) (*catalog, error) {
	c := &catalog{Database: d, Relations: map[uint32]*relation{}}
	if err := c.readRelations(ctx, conn); err != nil {
		return nil, err
	}
	if err := c.readColumns(ctx, conn); err != nil {
		return nil, err
	}
	if err := c.readKeys(ctx, conn); err != nil {
		return nil, err
	}
	var err error
	c.Items, err = readItems(ctx, conn)
	return c, err
}

func (c *catalog) readRelations(ctx context.Context, conn *pgx.Conn) error {
	var r relation
	to := []any{&r.OID, &r.Schema, &r.Name, &r.Kind, &r.Persistence, &r.Partition, &r.Root, &r.Method, &r.Heap,
		&r.Node.Tablespace, &r.Node.Database, &r.Node.Relation, &r.Rows}
	return each(ctx, conn, relationsSQL, to, func() {
		one := r
		if one.Node.Tablespace == sharedTablespace {
			one.Node.Database = 0
		}
		c.Relations[one.OID] = &one
	})
}

func (c *catalog) readColumns(ctx context.Context, conn *pgx.Conn) error {
	types, err := readTypes(ctx, conn)
	if err != nil {
		return err
	}
	var a attribute
	var table, typ uint32
	return each(ctx, conn, columnsSQL, []any{&table, &a.Number, &a.Name, &a.Type, &typ, &a.Generated, &a.Identity}, func() {
		a.Text = !types.comparable(typ)
		if r := c.Relations[table]; r != nil {
			r.Columns = append(r.Columns, a)
		}
	})
}

func (c *catalog) readKeys(ctx context.Context, conn *pgx.Conn) error {
	var k key
	var table uint32
	return each(ctx, conn, keysSQL, []any{&table, &k.Index, &k.Primary, &k.Columns}, func() {
		if r := c.Relations[table]; r != nil {
			one := k
			one.Columns = slices.Clone(k.Columns)
			r.Keys = append(r.Keys, one)
		}
	})
}

// each runs a query, and calls visit for each row after it was scanned.
func each(ctx context.Context, conn *pgx.Conn, sql string, to []any, visit func()) error {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return sqlError(err)
	}
	_, err = pgx.ForEachRow(rows, to, func() error { visit(); return nil })
	return sqlError(err)
}

// merged reports whether the rows of a relation are read: it is a logged heap.
func (r *relation) merged() bool {
	return r.Persistence == "p" && r.Heap && r.Kind == "r"
}

// column returns the column of a number, or nil.
func (r *relation) column(number int16) *attribute {
	i := slices.IndexFunc(r.Columns, func(a attribute) bool { return a.Number == number })
	if i < 0 {
		return nil
	}
	return &r.Columns[i]
}

// named returns the column of a name, or nil.
func (r *relation) named(name string) *attribute {
	i := slices.IndexFunc(r.Columns, func(a attribute) bool { return a.Name == name })
	if i < 0 {
		return nil
	}
	return &r.Columns[i]
}

// root returns what a relation is listed as: the root of its tree, or itself.
func (c *catalog) root(r *relation) *relation {
	if top := c.Relations[r.Root]; top != nil {
		return top
	}
	return r
}
