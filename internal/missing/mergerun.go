package missing

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
)

const opMerge = "merge missing rows"

// Merge compares a set with the active database, and merges it if asked to, in one transaction. Without Apply nothing is changed: the
// transaction, with its temporary tables, is rolled back. It may be killed at any moment and called again, also after it has committed.
func Merge(ctx context.Context, in MergeInput) (Summary, error) {
	return Summary{}, fault.Newf(fault.Invalid, opMerge, "not there yet")
}
