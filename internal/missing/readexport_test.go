package missing

import "testing"

// HoldFewRows makes comparisons hold only so many rows in memory.
func HoldFewRows(t *testing.T, n uint64) {
	was := bagRows
	bagRows = n
	t.Cleanup(func() { bagRows = was })
}
