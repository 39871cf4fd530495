package topology

import (
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

// FenceWorth says how sure it is that a fenced server takes no more writes.
type FenceWorth string

const (
	// FenceProven fences were tried from outside: nobody but a superuser on the server's host gets in, or the server is down
	// and its next start is fenced.
	FenceProven FenceWorth = "proven"
	// FenceBestEffort fences keep honest clients out; Fence.Reason says who may still get past.
	FenceBestEffort FenceWorth = "best effort"
	// FenceNone means that the server could not be reached: it may still take writes, which nobody follows.
	FenceNone FenceWorth = "none"
)

// FenceState says how a fence stands. A fence is set before the epoch is claimed in a switchover, and after it in a failover.
type FenceState string

const (
	// FenceHolding fences belong to an operation that may still go back: they are lifted when it ends without a claim, or
	// gives no sign of life any more.
	FenceHolding FenceState = "holding"
	// FenceCommitted fences are never lifted by themselves: their epoch is over, or is about to be.
	FenceCommitted FenceState = "committed"
	// FenceLifted fences are history.
	FenceLifted FenceState = "lifted"
)

// Fence is what keeps the server that wrote a lineage from taking more writes (catalog document W/fences/<lineage>.json).
type Fence struct {
	Format    int        `json:"format"`
	Group     string     `json:"group"`
	Workspace string     `json:"workspace"`
	Lineage   string     `json:"lineage"`
	Region    string     `json:"region"` // where the server is
	Epoch     Epoch      `json:"epoch"`  // that the server wrote under
	State     FenceState `json:"state"`
	Worth     FenceWorth `json:"worth"`
	// Operation that asked for it; empty when the server's own region found a newer epoch, or fenced itself.
	Operation string    `json:"operation,omitempty"`
	Self      bool      `json:"self,omitempty"`   // the region fenced itself, since it reached nobody
	Means     []string  `json:"means,omitempty"`  // what is in force, in words
	Reason    string    `json:"reason,omitempty"` // why it is worth no more
	At        time.Time `json:"at"`
	// End is the server's flush position when the last session of a client had ended: all that clients were told lies
	// before. Zero when it is not known.
	End      wal.Position `json:"end,omitzero"`
	LiftedAt time.Time    `json:"liftedAt,omitzero"`
	// Before are the server's own values of the settings that the fence has replaced, nil where ALTER SYSTEM had none.
	Before map[string]*string `json:"before,omitempty"`
	// Site is the server, as the group's document named it: that may name another one since.
	Site Site `json:"site,omitzero"`
	// DataDir is the server's data directory on its host, for when it is down: empty where the role may not know.
	DataDir string `json:"dataDir,omitempty"`
}

// Following is f after there was a record of the same server: what is known of it stays known.
func (f Fence) Following(there Fence) Fence {
	if f.State == FenceLifted {
		there.State, there.LiftedAt = FenceLifted, f.LiftedAt
		return there
	}
	if f.Before == nil {
		f.Before = there.Before
	}
	if f.DataDir == "" {
		f.DataDir = there.DataDir
	}
	if there.State != f.State {
		return f
	}
	if f.End.LSN == 0 {
		f.End = there.End
	}
	if f.Operation == "" && !f.Self {
		f.Operation = there.Operation
	}
	f.At = there.At
	return f
}

// Tail is what became of the WAL that a lineage's server wrote and that the newer lineage does not have (catalog document
// W/tails/<lineage>.json).
type Tail struct {
	Format    int          `json:"format"`
	Workspace string       `json:"workspace"`
	Lineage   string       `json:"lineage"`
	Fork      wal.Position `json:"fork"`           // where the newer lineage left it
	At        wal.Position `json:"at"`             // end of the unbroken chain that a bucket holds
	Region    string       `json:"region"`         // of that bucket
	Commits   int64        `json:"commits"`        // commit records between Fork and At
	Last      time.Time    `json:"last,omitzero"`  // of the last of them
	Complete  bool         `json:"complete"`       // nothing of it is missing, and its server is fenced for certain or down
	From      string       `json:"from,omitempty"` // where the newest part came from: "server", "files" or "bucket"
	SeenAt    time.Time    `json:"seenAt"`
	Error     string       `json:"error,omitempty"` // why it does not move on
}

// Bytes is the length of the tail.
func (t Tail) Bytes() int64 { return max(0, int64(t.At.LSN)-int64(t.Fork.LSN)) }
