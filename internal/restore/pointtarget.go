package restore

import (
	"time"

	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// ChoiceOf is a target as FindPoint looks for it from a snapshot that is consistent from an LSN on and began at a moment.
func ChoiceOf(t topology.Target, consistent wal.LSN, startedAt time.Time) PointChoice {
	return PointChoice{LSN: t.LSN, Time: t.Time, XID: t.XID, Name: t.Name, Consistent: consistent, StartedAt: startedAt}
}
