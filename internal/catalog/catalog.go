// Package catalog keeps what is true about groups: small JSON documents in the buckets of their regions, changed by
// conditional write only (docs/format.md lists the keys). The bucket of a group's authority region decides; what was
// decided there is copied to the other one. A document is read as the newest one among the buckets that answer, so that
// one lost bucket hides nothing that matters.
package catalog

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// Catalog reads and changes the documents of the groups in some regions' buckets. Its methods are safe for concurrent
// use. Errors are of package fault's kinds; those that a person can act on carry a hint.
type Catalog struct {
	// Stores are the regions' buckets; their keys begin after objectstore.Root.
	Stores map[string]objectstore.Store
	// Timeout is for how long one round of reads or of copies waits for a bucket that does not answer; default 4 s. A bucket
	// that took all of it gets an eighth for the next 20 s, so that a failover does not wait again and again.
	Timeout time.Duration
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Controller is the ID of the control plane whose process this is. What changes a group is refused with fault.Fenced when
	// another one has taken it over. Empty: nobody acts through this catalog who could have been replaced.
	Controller string
	// Log gets what is best effort and failed; nil for none.
	Log *slog.Logger

	cache cache
}

// ErrUnseen means that no bucket that answered knows the group, and that a bucket that did not answer might. The error
// is fault.Transient: a caller that cannot wait asks with errors.Is and decides by itself.
var ErrUnseen = errors.New("no bucket that answers knows the group")

// Loaded is a group as the catalog knows it.
type Loaded struct {
	Group  topology.Group
	From   []string          // regions whose buckets answered, sorted
	Silent map[string]string // regions whose buckets did not, or held something unreadable, and why
}

// Updated is a group after a change that its authority accepted.
type Updated struct {
	Group    topology.Group
	Mirrored bool   // the other region's bucket has the change too, or the group has no other region
	Reason   string // why not
}

// Claim says who holds an epoch, and why (catalog document epochs/<epoch>.json).
type Claim struct {
	Format    int            `json:"format"`
	Group     string         `json:"group"`
	Epoch     topology.Epoch `json:"epoch"`
	Region    string         `json:"region"`    // that serves under it
	Operation string         `json:"operation"` // ID; a claim is idempotent by it
	Claimant  string         `json:"claimant"`  // for people: host and process, or workflow
	ClaimedAt time.Time      `json:"claimedAt"`

	Held bool `json:"-"` // of a claim that is asked for: only if the operation holds the group
}

// Busy says which operation holds a group. BeginOperation's error has it in its tree.
type Busy struct {
	Group string
	Held  topology.OperationRef
}

func (b *Busy) Error() string {
	return "group " + b.Group + " is held by " + b.Held.Kind + " " + b.Held.ID + " since " + b.Held.StartedAt.UTC().Format(time.RFC3339)
}

func (c *Catalog) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

func (c *Catalog) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return 4 * time.Second
}

func (c *Catalog) log() *slog.Logger {
	if c.Log != nil {
		return c.Log
	}
	return slog.New(slog.DiscardHandler)
}

// cache holds what saves requests and may be wrong: a wrong ETag ends in a conflict and is read anew.
type cache struct {
	mu      sync.Mutex
	etags   map[string]string // by region and key
	regions map[string]cachedRegions
	silent  map[string]time.Time // by region: when it last took the whole timeout
	owed    map[string]bool      // groups whose other bucket did not take the last change
	missed  map[place]missed
	notes   int // that were made of what was missed
	// announced are the furthest points that were announced through this catalog, by workspace and lineage.
	announced map[string]topology.WALProgress
	tails     map[string]topology.Tail // by key: those that are complete
}

type cachedRegions struct {
	regions []string
	readAt  time.Time
}
