package missing

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/wal"
)

// Class says how a change of the old line stands to the active database.
type Class string

const (
	Missing Class = "missing" // the active database has what the fork had: the change can be applied as it is
	Same    Class = "same"    // the active database has it already
	// Alike: each side made the same of a row that there was at the fork. It counts once, which is wrong of a counter that both sides lowered.
	Alike Class = "alike"

	BothInserted   Class = "both-inserted"   // the same key, with other contents
	BothUpdated    Class = "both-updated"    // each side made something else of the same row
	UpdatedDeleted Class = "updated-deleted" // the old line updated what the active side deleted
	DeletedUpdated Class = "deleted-updated" // the old line deleted what the active side updated
	Unique         Class = "unique"          // another row of the active side holds a unique or excluding key of it
	ForeignParent  Class = "fk-parent"       // a row that it refers to would not be there
	ForeignChild   Class = "fk-child"        // a row of the active side refers to what it deletes
	NoKey          Class = "no-key"          // a row without a key is to be deleted, and the active side has none like it
	SchemaDrift    Class = "schema-drift"    // the active database has no table, or no column, for it
	TwoPhase       Class = "two-phase"       // a prepared transaction that ended there, and waits here
	Held           Class = "held"            // another change of its transaction conflicts, and transactions are to stay whole
	Kept           Class = "kept"            // it conflicts, and what is active was decided for
)

// Conflict reports whether somebody has to decide.
func (c Class) Conflict() bool { return c != Missing && !c.There() && c != Kept }

// There reports whether the active database has it, and no merge brought it.
func (c Class) There() bool { return c == Same || c == Alike }

// Op is what the old line did to a row.
type Op string

const (
	Insert Op = "insert"
	Update Op = "update"
	Delete Op = "delete"
)

// Change is one row that the old line changed.
type Change struct {
	ID     string    `json:"id"` // of its table, its key and its versions: the same in every run as long as none of these changes
	Schema string    `json:"schema"`
	Table  string    `json:"table"`
	Op     Op        `json:"op"`
	Class  Class     `json:"class"`
	Key    []*string `json:"key,omitempty"`
	Base   []*string `json:"base,omitempty"`   // at the fork; nil: it was not there
	Theirs []*string `json:"theirs,omitempty"` // at the tip of the old line
	Active []*string `json:"active,omitempty"`
	Commit *Commit   `json:"commit,omitempty"` // nil: not known
	Why    string    `json:"why,omitempty"`    // of a conflict, as a sentence
	// Written is what was written, or would be, where a person chose other values than theirs.
	Written []*string `json:"written,omitempty"`
	// Applied says that it was merged, or for a preview that it would be.
	Applied bool `json:"applied,omitempty"`
}

// Policy is what becomes of conflicts.
type Policy string

const (
	Keep   Policy = "keep"   // what is active stays (default)
	Theirs Policy = "theirs" // what the old line has is taken, where the schema and its keys allow it
)

// Decision is what a person chose for one change.
type Decision struct {
	ID     string             `json:"id" yaml:"id"`
	Decide Policy             `json:"decide" yaml:"decide"`
	Values map[string]*string `json:"values,omitempty" yaml:"values,omitempty"` // with Theirs: columns that are to hold something else; nil is NULL
}

// MergeInput says what to compare, and whether to merge.
type MergeInput struct {
	// Conn is a connection to the active database, as a superuser, or as an owner of the tables that may set session_replication_role.
	Conn *pgx.Conn
	// Open opens the set anew, from its beginning.
	Open      func(ctx context.Context) (io.ReadCloser, error)
	Apply     bool
	Policy    Policy
	Decisions []Decision
	// LockWait is how long to wait for a row that somebody holds; 0: 30 seconds.
	LockWait time.Duration
	// Whole keeps transactions together: if one change of a transaction can't be applied, none of it is, nor of those that touch the same rows. Of a
	// row that several transactions changed one after the other, the set knows the first and the last.
	Whole bool
	// Merged are the undo records of earlier merges of the same lineage and database, oldest first: also those that may not have committed, which
	// Merge finds out. By them a row that an earlier merge brought is told from one that somebody changed since. nil: there were none.
	Merged iter.Seq2[Undo, error]
	// Begin is given the set's header before the first change, with tables and columns by the names that the active database has for them: the
	// names by which changes are reported. nil: nobody wants it.
	Begin func(Header) error
	// Report is given each change in order of tables and keys, as decided. nil: nobody wants them.
	Report func(Change) error
	// Undo is given what the merge is about to change, right before it commits; the merge rolls back when it fails.
	Undo     func(ctx context.Context, u Undo) error
	Progress func(phase string, done, total int64)
}

// Undo is what leads back to the state before a merge. It is kept as lines: first itself, then each of its changes. Since it is kept before the
// merge commits, it counts only where XID committed on a line that has LSN on Timeline behind it.
type Undo struct {
	Database string       `json:"database"`
	SystemID uint64       `json:"systemID"`
	XID      uint64       `json:"xid"`      // of the merging transaction, with its epoch
	Timeline uint32       `json:"timeline"` // of the server that merged
	LSN      wal.LSN      `json:"lsn"`      // reached when all was merged, and not yet committed
	At       time.Time    `json:"at"`
	Tables   []Table      `json:"tables"` // that changes name
	Moved    []MovedValue `json:"moved,omitempty"`
	// Changes are those that were applied; Active is what was there before, and Written what was written if it is not Theirs. They can be gone
	// through once where Merge gives them, and as often as wanted where a record was read.
	Changes iter.Seq2[Change, error] `json:"-"`
}

// MovedValue is a sequence that a merge moved on.
type MovedValue struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
	From   int64  `json:"from"`
	To     int64  `json:"to"`
}

// Summary is what came of it. It has no contents of rows.
type Summary struct {
	Database     string            `json:"database"`
	Tables       []TableSummary    `json:"tables"`
	Classes      map[Class]int64   `json:"classes"`
	Transactions int64             `json:"transactions"` // that have a change that is missing or conflicts
	Applied      int64             `json:"applied"`      // changes; of a preview: that would be
	Conflicts    int64             `json:"conflicts"`    // that are left
	Sequences    []MovedValue      `json:"sequences,omitempty"`
	Prepared     []PreparedSummary `json:"prepared,omitempty"`
	Drift        []Drift           `json:"drift,omitempty"`
	Blind        []Blind           `json:"blind,omitempty"`
	Whole        bool              `json:"whole,omitempty"` // by a full comparison
	Notes        []string          `json:"notes,omitempty"`
	XID          uint64            `json:"xid,omitempty"` // of the merging transaction
}

// TableSummary counts the changes of one table.
type TableSummary struct {
	Schema  string          `json:"schema"`
	Table   string          `json:"table"`
	How     How             `json:"how"`
	Inserts int64           `json:"inserts"` // that are not in the active database, conflicting ones included
	Updates int64           `json:"updates"`
	Deletes int64           `json:"deletes"`
	Classes map[Class]int64 `json:"classes"`
}

// PreparedSummary is a prepared transaction that needs somebody.
type PreparedSummary struct {
	Prepared
	Command string `json:"command,omitempty"` // to be run in the active database
}
