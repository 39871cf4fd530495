// Package history says what a bucket can restore of a workspace: which points of which lineages, and what is missing where it cannot.
// It goes by what lies in the bucket and by the group's document, and reads no more than lists, the heads of manifests and the headers of
// those segments at which something begins or ends.
package history

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// Contents is what a region's bucket holds of a workspace, as it was listed.
type Contents struct {
	Workspace string
	Region    string
}

// Read lists what the bucket of a region holds of a workspace of g, and reads what Timeline needs. Errors are those of the store, and
// fault.Missing for a workspace that the group does not have; what is missing or damaged in the bucket is no error: it is a gap of the
// timeline.
func Read(ctx context.Context, store objectstore.Store, region string, g topology.Group, workspace string) (*Contents, error) {
	return nil, fault.Newf(fault.Invalid, "read timeline", "not there yet")
}

// Timeline is all that can be restored: the windows of every lineage of the workspace and of its branches that have something in the
// bucket, and the gaps. It does no I/O.
func (c *Contents) Timeline() topology.Timeline {
	return topology.Timeline{Workspace: c.Workspace, Region: c.Region}
}

// Along is Timeline for one way: that to the end of a lineage, through all that it comes from; each window ends where the next lineage
// left. It is what `restore` and `branch create` choose a target from.
func (c *Contents) Along(lineage string) topology.Timeline {
	return topology.Timeline{Workspace: c.Workspace, Region: c.Region}
}

// Without returns the contents as if the objects of those keys were not there, to find out what is lost with them: what Timeline says of both
// is to be compared.
func (c *Contents) Without(keys ...string) *Contents { return c }

// Check returns nil when a time or an LSN lies in a window of a timeline, and for other targets as long as there is a window. Else it is
// fault.Invalid, with the nearest points in the hint.
func Check(t topology.Timeline, target topology.Target) error { return nil }
