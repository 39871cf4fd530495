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

// ShortLogs lets standbys keep next to nothing of their logs.
func ShortLogs(t *testing.T) {
	t.Helper()
	size, every := keepLog, lookAtLog
	keepLog, lookAtLog = 2<<10, 0
	t.Cleanup(func() { keepLog, lookAtLog = size, every })
}
