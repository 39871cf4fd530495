// Package retention finds out what of a workspace a bucket still needs, and removes the rest. What is needed follows from references alone: from the
// group's document, with its lineages, floors, branches and system-managed databases, to snapshots and the WAL behind them.
//
// A round goes like this. The bucket is listed (Read). Floors says where the restorable points of each lineage begin from now on; that is
// written into the group's document, so that nobody refers to anything older any more. Mark then says by that document what is needed. The rest
// is removed, manifests first, then WAL; packs are condemned first, and removed in a later round (Condemn). Every step may be the last one: the next
// round finds out anew what is left to do.
package retention

import (
	"time"

	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/wal"
)

// Object is something that a bucket holds.
type Object struct {
	Key      string
	Size     int64
	Modified time.Time // by the bucket's clock
}

// Bucket is what one region's bucket holds of a workspace.
type Bucket struct {
	Snapshots []Snapshot // by id, so oldest first
	Packs     []Pack     // by id
	Lineages  map[string]*Lineage
	Missing   []MissingObject
	Leftovers []Object // of the known layout, and named by nothing
	Unknown   []Object // not of the known layout: they are never removed
	Documents int      // small ones that always stay
}

// Snapshot is a published snapshot.
type Snapshot struct {
	Object
	ID       string
	Manifest *snapshot.Manifest // without files; nil when it cannot be read
	Err      error              // why it cannot be read: fault.Corrupt, or fault.Invalid for a newer format
	Chunks   Set
	Lacking  int // chunks that no readable pack holds
}

// Moment is when the snapshot had surely ended: no earlier state can be restored from it. Copying it from the other bucket makes it later, which
// does no harm.
func (s *Snapshot) Moment() time.Time {
	if s.Manifest != nil && s.Manifest.CompletedAt.After(s.Modified) {
		return s.Manifest.CompletedAt
	}
	return s.Modified
}

// Whole reports whether every file of the snapshot can be had.
func (s *Snapshot) Whole() bool { return s.Err == nil && s.Manifest != nil && s.Lacking == 0 }

// Pack is a pack's objects. An index without its pack is worth nothing, and neither is a pack without its index.
type Pack struct {
	ID                 string
	Index, Body, Pages Object // no key: it is not there
	Entries            []Entry
	Err                error // why the index cannot be read
}

// Entry is a chunk in a pack.
type Entry struct {
	Chunk Chunk
	Base  Chunk // what the chunk is a delta of; NoChunk: it is whole
	Size  int64 // stored bytes
}

// Readable reports whether chunks can be had from the pack.
func (p *Pack) Readable() bool { return p.Err == nil && p.Index.Key != "" && p.Body.Key != "" }

// Objects are those of the pack that are there, in the order in which they are removed.
func (p *Pack) Objects() (all []Object) {
	for _, o := range []Object{p.Index, p.Pages, p.Body} {
		if o.Key != "" {
			all = append(all, o)
		}
	}
	return all
}

// modified is when the pack was last stored.
func (p *Pack) modified() (t time.Time) {
	for _, o := range p.Objects() {
		if o.Modified.After(t) {
			t = o.Modified
		}
	}
	return t
}

// Lineage is what is there of a lineage's WAL.
type Lineage struct {
	Segments  []Segment
	Histories map[wal.Timeline]History
}

// Segment is a segment object.
type Segment struct {
	Object
	Timeline wal.Timeline
	Range    wal.Range
}

// History is a timeline's history file.
type History struct {
	Object
	Parsed wal.History
}

// newest is when something of the lineage arrived last.
func (l *Lineage) newest() (t time.Time) {
	for _, s := range l.Segments {
		if s.Modified.After(t) {
			t = s.Modified
		}
	}
	return t
}
