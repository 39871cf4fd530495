package readiness

import (
	"time"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// Facts are what was found. An error beside a fact says why it is not known.
type Facts struct {
	Now   time.Time
	Group topology.Group
	From  string // region that the check is made in; empty when that is not known
	To    string // region that a failover would go to; empty without replication

	Buckets    map[string]Bucket // by region
	Hosts      []topology.Host   // of To, the stale ones too
	HostsErr   error
	Operations []topology.Operation // newest first
	OpsErr     error
	Temporal   Answer
	Workspaces []Workspace // those that a failover brings back
}

// Bucket is what one region's bucket said.
type Bucket struct {
	catalog.Copy
	Wrote     Answer // whether an object could be written and removed from here
	Ours      *catalog.Stamp
	Stamps    []catalog.Stamp
	StampsErr error
}

// Answer is whether something that was asked worked.
type Answer struct {
	Asked bool
	Err   error
}

// Workspace is what was found of one workspace.
type Workspace struct {
	topology.Workspace
	WAL         *topology.WALProgress // as announced last; nil for never
	WALErr      error
	Taking      *topology.SnapshotProgress // as announced last; nil for never
	Snapshot    *snapshot.Manifest         // the newest that is usable in To's bucket; nil for none
	SnapshotErr error
	Chain       Chain
	ChainErr    error
	Metadata    *metadata.Metadata // as captured last; nil for never
	CapturedAt  time.Time
	MetadataErr error
	InventoryAt time.Time // when roles, grants and the like were read last; zero for never
}

// Chain is the unbroken WAL that was found in To's bucket, from the snapshot on.
type Chain struct {
	From    wal.LSN
	Tip     wal.Position
	Objects int
	Beyond  wal.LSN // start of the first object behind a hole; 0 for none
	// Missing says which stretch of an older lineage is not there, or "".
	Missing string
}

// fresh returns the hosts that have announced themselves lately.
func (f Facts) fresh() []topology.Host {
	var out []topology.Host
	for _, h := range f.Hosts {
		if h.Fresh(f.Now) {
			out = append(out, h)
		}
	}
	return out
}
