package missing

import (
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

// SetFormat is the version of a set's form.
const SetFormat = 1

// Set is what was committed in one database between fork and tip, as an object: zstd of one JSON value per line, first a Header, then Lines
// grouped by table. It can be read as often as wanted, without the copies that it came from.

// Header is a set's first line.
type Header struct {
	Format        int       `json:"format"`
	Workspace     string    `json:"workspace"`
	Database      string    `json:"database"`
	DatabaseOID   uint32    `json:"databaseOID"`
	Lineage       string    `json:"lineage"`
	Fork          wal.LSN   `json:"fork"`
	Tip           wal.LSN   `json:"tip"`
	From          wal.LSN   `json:"from"`
	Whole         bool      `json:"whole,omitempty"` // all tables were compared as a whole: the WAL that says what changed has expired
	ServerVersion int       `json:"serverVersion"`   // as 180004
	MadeAt        time.Time `json:"madeAt"`

	Tables    []Table    `json:"tables"`
	Sequences []Sequence `json:"sequences,omitempty"`
	Prepared  []Prepared `json:"prepared,omitempty"`
	Drift     []Drift    `json:"drift,omitempty"`
	Blind     []Blind    `json:"blind,omitempty"`
}

// Table is one whose rows changed. Partitions are listed as their root.
type Table struct {
	OID     uint32   `json:"oid,omitempty"` // of the root, on the fork; 0: it was made later
	Schema  string   `json:"schema"`        // as on the fork
	Name    string   `json:"name"`
	Columns []Column `json:"columns"` // that fork and tip have in common, or those of a new one
	// Key are the places in Columns of what names a row: the primary key, else a unique index over columns that are not null. Empty: rows have
	// no name, and are counted by what they hold.
	Key []int `json:"key,omitempty"`
	How How   `json:"how"`
	// Unique are the places in Columns of what else no two rows may have alike, as far as a merge has found it in the active database.
	Unique []int `json:"unique,omitempty"`
	// Partitioned says that its rows lie in partitions there, and not in itself. Tables that inherit from others are no partitions.
	Partitioned bool `json:"partitioned,omitempty"`
}

// How says in which way a table's changes were found.
type How string

const (
	ByWAL   How = "wal"   // by place
	ByWhole How = "whole" // fork and tip were compared row by row: its file was replaced
	Made    How = "made"  // it is not there at the fork: all of its rows are new
	Dropped How = "dropped"
)

// Column is one of a table.
type Column struct {
	Name      string `json:"name"`
	Number    int16  `json:"number,omitempty"`    // attnum on the fork; 0: the table was made later
	Type      string `json:"type"`                // as format_type() says it
	Generated bool   `json:"generated,omitempty"` // computed: shown, and neither compared nor written
	Identity  string `json:"identity,omitempty"`  // "a" always, "d" by default
	Text      bool   `json:"text,omitempty"`      // its type has no equality (json, xml, point): compared by its text
}

// LargeObjects is the name of the table, in pg_catalog, as which large objects are listed: key (loid, pageno), data as bytea.
const LargeObjects = "pg_largeobject"

// Line is one row version, or one transaction, of a set.
type Line struct {
	Table int `json:"t"` // place in Header.Tables
	// Side is New for what the tip has and the fork lacks, and Old for what the fork has and the tip lacks. A row that changed has both, with
	// the same key; what is the same on both sides was left out.
	Side   Side      `json:"s,omitempty"`
	XID    uint32    `json:"x,omitempty"` // of the transaction that made or removed it; 0: not known
	TID    string    `json:"c,omitempty"` // on the fork of an old one, on the tip of a new one, as (block,offset); not of partitions
	Values []*string `json:"v,omitempty"` // by Columns, as the output functions of their types say them under Session; nil is NULL

	Commit *Commit `json:"commit,omitempty"` // instead of a row: a transaction that lines name; it precedes them
}

// Side is the state that has a row version.
type Side string

const (
	New Side = "n"
	Old Side = "o"
)

// Session is what every connection sets before it reads or writes values as text, so that the same value has the same text everywhere.
const Session = `set timezone = 'UTC'; set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres'; set extra_float_digits = 3;
set bytea_output = 'hex'; set xmloption = 'content'; set lc_monetary = 'C'; set client_encoding = 'UTF8'; set search_path = pg_catalog;
set statement_timeout = 0; set idle_in_transaction_session_timeout = 0; set row_security = off; set jit = off`

// Sequence is one that moved.
type Sequence struct {
	OID       uint32 `json:"oid,omitempty"`
	Schema    string `json:"schema"`
	Name      string `json:"name"`
	Last      int64  `json:"last"` // at the tip
	Called    bool   `json:"called"`
	Increment int64  `json:"increment"`
}

// Drift is a difference of the schema between fork and tip, or between tip and the active database.
type Drift struct {
	Object string `json:"object"` // as "table public.orders"
	Text   string `json:"text"`   // as "column note was added"
}

// Blind is what the method cannot see.
type Blind struct {
	Object string `json:"object"`
	Reason string `json:"reason"` // as "unlogged: its changes are not in WAL"
}
