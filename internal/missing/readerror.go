package missing

import (
	"errors"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/fault"
)

// SQLSTATEs that say what is to be done.
const (
	serverFull   = "53100" // its disk is full
	lockTimedOut = "55P03"
	notEncoded   = "22021" // a value is not in the encoding that it ought to be in
	notInUnicode = "22P05" // a character of its encoding that UTF-8 lacks
)

// reading is what sessions set that read copies. On a copy that stands still only transactions that were open there hold locks that matter,
// and none of them ever ends. Many places in a small table would have it scanned as a whole for each batch of them.
const reading = "; set lock_timeout = '5s'; set enable_seqscan = off"

// errUntold is in errors about a database whose text nobody can tell.
var errUntold = errors.New("it holds text that is not in the encoding that it ought to be in, or that UTF-8 has no letters for")

// Refusal says why a database could not be compared, while others of its server were. It has no contents of rows.
type Refusal struct {
	Why  string `json:"why"`
	Hint string `json:"hint"` // what to do
}

// refusal returns what an error says of one database alone, whenever it is read; nil where it may be about the server, or pass.
func refusal(err error) *Refusal {
	if !errors.Is(err, errUntold) {
		return nil
	}
	return &Refusal{Why: err.Error(), Hint: fault.HintOf(err)}
}

// errLocked is in errors that Locked knows.
var errLocked = errors.New("a transaction that was open there has locked it (TRUNCATE, ALTER TABLE, VACUUM FULL, LOCK TABLE)")

// Locked reports whether a copy that replays WAL can't be read since a transaction which was open where it stands has locked a table. One that
// was promoted there can be: promotion ends what was open, and what was prepared can be rolled back on it.
func Locked(err error) bool { return errors.Is(err, errLocked) }

// sqlError judges what a copy answered. A copy that answers wrongly once may do better after a restart: most are transient.
func sqlError(err error) error {
	if err == nil {
		return nil
	}
	var said *pgconn.PgError
	switch {
	case errors.As(err, &said) && said.Code == serverFull:
		return fault.New(fault.Full, opRead, err)
	case said != nil && (said.Code == notEncoded || said.Code == notInUnicode):
		return fault.Newf(fault.Invalid, opRead, "%w (SQLSTATE %s)", errUntold, said.Code). // what it said has bytes of the text
													WithHint("A database whose encoding is SQL_ASCII can be compared as far as it holds UTF-8: attach a branch of the system-managed database, and compare this one by hand.")
	case said != nil && said.Code == lockTimedOut:
		return fault.Newf(fault.Taken, opRead, "%w: %w", errLocked, err)
	}
	return fault.New(fault.Transient, opRead, err)
}

// fileError judges what the folder's disk answered.
func fileError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.New(fault.Full, opRead, err).WithHint("Make room on the disk that has the host's folder.")
	}
	return fault.New(fault.Transient, opRead, err)
}
