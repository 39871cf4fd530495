// Package verify walks what a region's bucket holds of a group, finds what is missing, altered or orphaned, reads back as much of the contents as it is
// told to, and says what cannot be restored any more because of it. It changes nothing.
//
// A bucket lives while it is walked: objects arrive, are merged and are removed. So what is missing or contradicts itself counts only when it is so
// in two walks, and what nothing refers to only when it is old.
package verify

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

const (
	opVerify = "check bucket"
	// atOnce is how many requests are under way at a time.
	atOnce = 4
	// defaultGrace is how old an object must be that nothing refers to: somebody may be about to.
	defaultGrace = time.Hour
	// lookAgain is how long after a walk that has found something the next one begins: by then what was being written is there.
	lookAgain = 5 * time.Second
	// walks is how often a walk begins anew when objects are merged or removed under it.
	walks = 5
)

// Check says what is to be looked at.
type Check struct {
	Stores map[string]objectstore.Store // the root stores of the group's regions; of the others only what can be copied from them is asked
	Group  topology.Group               // as the catalog knows it
	Region string                       // whose bucket is checked
	Read   string                       // topology.VerifyNone and so on
	Seed   uint64                       // of the sample; 0: any
	Grace  time.Duration                // default: an hour
	Again  time.Duration                // default: lookAgain
	Batch  int                          // objects read between two positions; default: batchItems
	Now    func() time.Time             // default time.Now
	From   Position                     // where an earlier run was when it ended
	Say    func(Progress)               // may be nil; one call at a time
}

// Progress is how far a check is.
type Progress struct {
	Doing   string   `json:"doing"` // in words
	Objects int      `json:"objects,omitempty"`
	Of      int      `json:"of,omitempty"` // objects whose content is to be read
	Bytes   int64    `json:"bytes,omitempty"`
	OfBytes int64    `json:"ofBytes,omitempty"`
	Rate    float64  `json:"rate,omitempty"` // bytes a second
	At      Position `json:"at,omitzero"`
}

// Position is where reading back stands, to go on from there. The zero value is the beginning.
type Position struct {
	Seed    uint64    `json:"seed,omitempty"`
	After   string    `json:"after,omitempty"` // everything up to this key was read
	Objects int       `json:"objects,omitempty"`
	Bytes   int64     `json:"bytes,omitempty"`
	Bad     []Altered `json:"bad,omitempty"`
}

// Altered is an object whose content is not what was written.
type Altered struct {
	Key    string   `json:"key"`
	What   string   `json:"what"`
	Chunks []string `json:"chunks,omitempty"` // of a pack: the names of those that are
}

// Run checks. Errors are those of the stores, and fault.Invalid for what cannot be asked.
func (c Check) Run(ctx context.Context) (topology.Verified, error) {
	if err := c.prepare(); err != nil {
		return topology.Verified{}, err
	}
	v := topology.Verified{Format: 1, Group: c.Group.Name, Region: c.Region, Epoch: c.Group.Epoch, Read: c.Read, Seed: c.Seed,
		StartedAt: c.Now().UTC(), Lost: []topology.Lost{}, Findings: []topology.Finding{}}
	w, err := c.walkAnew(ctx)
	if err != nil {
		return v, err
	}
	read, err := c.readBack(ctx, w)
	if err != nil {
		return v, err
	}
	v.ReadObjects, v.ReadBytes = read.Objects, read.Bytes
	if w, err = c.twice(ctx, w); err != nil {
		return v, err
	}
	if err := w.altered(ctx, read.Bad); err != nil {
		return v, err
	}
	if err := w.conclude(ctx, &v); err != nil {
		return v, err
	}
	v.EndedAt = c.Now().UTC()
	return v, nil
}

func (c *Check) prepare() error {
	if c.Read == "" {
		c.Read = topology.VerifySample
	}
	if !slices.Contains([]string{topology.VerifyNone, topology.VerifySample, topology.VerifyAll}, c.Read) {
		return fault.Newf(fault.Invalid, opVerify, "%q is no way to read contents back", c.Read).WithHint("Choose none, sample or all.")
	}
	if c.Stores[c.Region] == nil {
		return fault.Newf(fault.Invalid, opVerify, "there is no bucket of region %q", c.Region)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Grace == 0 {
		c.Grace = defaultGrace
	}
	if c.Again == 0 {
		c.Again = lookAgain
	}
	if c.Batch == 0 {
		c.Batch = batchItems
	}
	if c.Say == nil {
		c.Say = func(Progress) {}
	}
	if c.From.Seed != 0 {
		c.Seed = c.From.Seed
	}
	if c.Read == topology.VerifySample && c.Seed == 0 {
		c.Seed = rand.Uint64()>>11 + 1 // JSON's numbers hold 53 bits
	}
	return nil
}

// walkAnew walks, and begins anew when something that was listed is gone: it was merged or removed meanwhile.
func (c *Check) walkAnew(ctx context.Context) (w *walk, err error) {
	for range walks {
		w = &walk{Check: c}
		if err = w.run(ctx); !fault.Is(err, fault.Missing) {
			return w, err
		}
	}
	return w, err
}

// twice walks once more when a walk has found something that may have been passing, and keeps what both have found.
func (c *Check) twice(ctx context.Context, first *walk) (*walk, error) {
	if !slices.ContainsFunc(first.findings, func(f finding) bool { return f.passing() }) {
		return first, nil
	}
	select {
	case <-ctx.Done():
		return nil, fault.New(fault.Transient, opVerify, ctx.Err())
	case <-time.After(c.Again):
	}
	second, err := c.walkAnew(ctx)
	if err != nil {
		return nil, err
	}
	second.findings = slices.DeleteFunc(second.findings, func(f finding) bool {
		return f.passing() && !slices.ContainsFunc(first.findings, f.same)
	})
	return second, nil
}

// finding is one with what follows from it.
type finding struct {
	topology.Finding
	hides  []string // keys that are as good as absent because of it
	spoils []string // keys of manifests that a restore fails with, as things are
}

// passing reports whether a moment later the finding might not be made.
func (f finding) passing() bool {
	return f.Kind != topology.FindingOrphaned && f.Kind != topology.FindingUnknown
}

func (f finding) same(o finding) bool { return f.Kind == o.Kind && f.Key == o.Key }

// walk is one walk over a bucket.
type walk struct {
	*Check
	here       *view // the group's objects in the bucket
	other      *view // in the other region's; nil when there is none, or it does not answer
	elsewhere  string
	announced  map[string]announced // by workspace and lineage
	workspaces []*workspace
	findings   []finding
	notes      []string
}

func (w *walk) prefix() string { return "groups/" + w.Group.Name + "/" }

func (w *walk) run(ctx context.Context) (err error) {
	w.Say(Progress{Doing: "list the bucket of " + w.Region})
	if w.announced, err = w.readAnnounced(ctx); err != nil {
		return err
	}
	if w.here, err = list(ctx, w.Stores[w.Region], w.prefix()); err != nil {
		return err
	}
	w.listOther(ctx)
	if err := w.documents(ctx); err != nil {
		return err
	}
	for i := range w.Group.Workspaces {
		ws := newWorkspace(w, w.Group.Workspaces[i])
		w.Say(Progress{Doing: "look at workspace " + ws.Name})
		if err := ws.run(ctx); err != nil {
			return fault.New(fault.KindOf(err), "workspace "+ws.Name, err)
		}
		w.workspaces = append(w.workspaces, ws)
	}
	return nil
}

// listOther lists the other region's bucket, which may be away.
func (w *walk) listOther(ctx context.Context) {
	for _, region := range []string{w.Group.Primary, w.Group.Secondary} {
		if region == "" || region == w.Region || w.Stores[region] == nil {
			continue
		}
		v, err := list(ctx, w.Stores[region], w.prefix())
		if err != nil {
			w.notes = append(w.notes, "The bucket of "+region+" does not answer: what could be copied from it is not known.")
			continue
		}
		w.other, w.elsewhere = v, region
	}
}

// add notes a finding.
func (w *walk) add(f finding) {
	if f.Repair == "" && f.Kind != topology.FindingOrphaned && f.Kind != topology.FindingUnknown && w.hasCopy(f.Key) {
		f.Repair = "Copy it from the bucket of " + w.elsewhere + "."
	}
	w.findings = append(w.findings, f)
}

func (w *walk) hasCopy(key string) bool {
	if w.other == nil || strings.HasSuffix(key, "/") {
		return false
	}
	_, ok := w.other.find(key)
	return ok
}

// old reports whether an object lies there long enough.
func (w *walk) old(info objectstore.Info) bool { return info.Modified.Before(w.Now().Add(-w.Grace)) }
