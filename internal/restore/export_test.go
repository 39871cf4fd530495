package restore

import (
	"os"
	"testing"
)

// CloneBy has files share blocks in another way for a test.
func CloneBy(t *testing.T, clone func(to, from *os.File, at, n int64) error) {
	t.Helper()
	before := cloneRange
	cloneRange = clone
	t.Cleanup(func() { cloneRange = before })
}
