package missing

import (
	"io"
	"iter"

	"github.com/smartdr/smartdr/internal/fault"
)

// SQL writes a script that does what a merge would do, for a person to review and run: one transaction, each statement guarded so that it does
// nothing where the row is not as the comparison saw it. What conflicts is written as comments. The header is the one that Begin was given.
func SQL(w io.Writer, h Header, changes iter.Seq2[Change, error]) error {
	return fault.Newf(fault.Invalid, opMerge, "not there yet")
}

// UndoSQL writes a script that leads back to the state before a merge. It refuses to run where the merge did not commit, and leaves alone rows
// that changed since.
func UndoSQL(w io.Writer, u Undo) error {
	return fault.Newf(fault.Invalid, opMerge, "not there yet")
}
