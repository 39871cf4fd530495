package topology

import (
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

// Choice is the point that a failover or a restore goes to. The zero Choice is the latest recovery point.
type Choice struct {
	// Time is the last moment that is wanted: no transaction is there that committed after it, by the primary's clock.
	Time time.Time `json:"time,omitzero"`
	// LSNs are by workspace: no record that ends after it is replayed. Workspaces without one go to their latest point.
	LSNs map[string]wal.LSN `json:"lsns,omitempty"`
}

// Latest reports whether nothing was chosen.
func (c Choice) Latest() bool { return c.Time.IsZero() && len(c.LSNs) == 0 }

// Loss is what a failover leaves behind of a workspace: what the serving side has, or is known to have had, after the point.
type Loss struct {
	Seconds      float64          `json:"seconds"`                // between the point and the newest moment that is known of the serving side
	Bytes        int64            `json:"bytes"`                  // of WAL
	Transactions int64            `json:"transactions"`           // commits among the bytes that some bucket holds
	Databases    map[string]int64 `json:"databases,omitempty"`    // of those transactions, by database
	UnknownBytes int64            `json:"unknownBytes,omitempty"` // of Bytes, those that no bucket that answers holds: their transactions cannot be counted
	// AtLeast means that the serving side, which was not fenced, may have written more than it last announced.
	AtLeast bool `json:"atLeast,omitempty"`
}

// Gap is the time in which a group had no writer.
type Gap struct {
	From time.Time     `json:"from"`        // the first server stopped taking writes
	To   time.Time     `json:"to,omitzero"` // the last endpoint was published
	Most time.Duration `json:"most"`        // the cap, in nanoseconds
}

// Length of the gap; 0 while it is open.
func (g Gap) Length() time.Duration {
	if g.To.IsZero() {
		return 0
	}
	return g.To.Sub(g.From)
}

// Moved is what a restore had to bring to a host.
type Moved struct {
	Bytes   int64 `json:"bytes"`   // of all files, with the WAL
	Fetched int64 `json:"fetched"` // came from the bucket, in stored form
	Reused  int64 `json:"reused"`  // found in an older data directory of the host, by content
}
