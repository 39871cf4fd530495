// Package archive keeps write-ahead log as objects: the segments of a lineage, chained by a digest that does not
// depend on where they are cut, and the history files of its timelines. docs/format.md describes the objects.
package archive

import (
	"context"
	"fmt"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/wal"
)

// Archive is one lineage's WAL in one bucket. Its methods are safe for concurrent use.
type Archive struct {
	store                     objectstore.Store
	group, workspace, lineage string
	prefix                    string       // of every key, with the slash at its end
	upTo                      wal.Timeline // newer ones are left out of lists; 0: none
}

// Open returns the archive of a lineage in a region's root store. It does no I/O; an archive without objects is empty.
func Open(store objectstore.Store, group, workspace, lineage string) *Archive {
	return &Archive{store: store, group: group, workspace: workspace, lineage: lineage,
		prefix: fmt.Sprintf("groups/%s/workspaces/%s/wal/%s/", group, workspace, lineage)}
}

// UpTo returns the archive as it is without timelines newer than t. A lineage that another one left on timeline t is read like that
// for the other one: its own server may have gone to a newer timeline since, and even from an earlier point.
func (a *Archive) UpTo(t wal.Timeline) *Archive {
	c := *a
	c.upTo = t
	return &c
}

// passes reports whether lists show a timeline.
func (a *Archive) passes(t wal.Timeline) bool { return a.upTo == 0 || t <= a.upTo }

// Lineage returns the ID of the archive's lineage.
func (a *Archive) Lineage() string { return a.lineage }

// Key returns the key of a segment.
func (a *Archive) Key(t wal.Timeline, r wal.Range) string {
	return a.prefix + t.Key() + "/" + r.Start.Key() + "-" + r.End.Key() + ".seg"
}

// Put stores a segment unless it is there already. A segment in its place that holds the same WAL is as good, whoever
// wrote it; one that holds other bytes is fault.Diverged; one that is damaged is replaced.
func (a *Archive) Put(ctx context.Context, s Sealed) (Entry, error) {
	h := s.Header
	if err := a.belongs(h); err != nil {
		return Entry{}, err
	}
	e := Entry{h.Timeline, h.Range(), int64(len(s.Bytes)), a.Key(h.Timeline, h.Range())}
	_, err := a.store.Put(ctx, e.Key, s.Bytes, objectstore.PutOptions{IfAbsent: true})
	if fault.Is(err, fault.Conflict) {
		err = a.putBeside(ctx, e, s)
	}
	return e, err
}

// putBeside looks at the object that is in the way of s.
func (a *Archive) putBeside(ctx context.Context, e Entry, s Sealed) error {
	b, info, err := a.store.Get(ctx, e.Key)
	if err != nil {
		return err
	}
	there, err := a.decode(e, b)
	if fault.Is(err, fault.Corrupt) {
		_, err = a.store.Put(ctx, e.Key, s.Bytes, objectstore.PutOptions{IfMatch: info.ETag})
		return err
	}
	if err != nil {
		return err
	}
	if there.Header.Digest != s.Header.Digest {
		return fault.Newf(fault.Diverged, "put segment", "%s holds WAL with digest %s, not %s", e.Key, there.Header.Digest, s.Header.Digest).
			WithHint("Two servers wrote to lineage %s. Find out which one clients used before going on.", a.lineage)
	}
	return nil
}

// Get reads a segment and verifies it: its bytes, and that it is what its key says.
func (a *Archive) Get(ctx context.Context, e Entry) (*Segment, error) {
	_, s, err := a.GetBoth(ctx, e)
	return s, err
}

// GetBoth is Get, with the object as it is stored, for copying it.
func (a *Archive) GetBoth(ctx context.Context, e Entry) ([]byte, *Segment, error) {
	b, _, err := a.store.Get(ctx, e.Key)
	if err != nil {
		return nil, nil, err
	}
	s, err := a.decode(e, b)
	return b, s, err
}

// headBytes is how much of an object is read for its header: nearly all are shorter.
const headBytes = 4 << 10

// Header reads a segment's header alone. That the bytes behind it are what it says is not looked at.
func (a *Archive) Header(ctx context.Context, e Entry) (Header, error) {
	b, err := a.store.GetRange(ctx, e.Key, 0, min(e.Size, headBytes))
	if err != nil {
		return Header{}, err
	}
	h, _, err := DecodeHeader(b)
	if err == nil {
		err = a.belongs(h)
	}
	if err == nil && (h.Timeline != e.Timeline || h.Range() != e.Range) {
		err = fault.Newf(fault.Corrupt, "read segment header", "it is of %s of timeline %d", h.Range(), h.Timeline)
	}
	if err != nil {
		return Header{}, fault.New(fault.KindOf(err), e.Key, err)
	}
	return h, nil
}

// decode verifies the object b found under e's key.
func (a *Archive) decode(e Entry, b []byte) (*Segment, error) {
	s, err := Decode(b)
	if err == nil {
		err = a.belongs(s.Header)
	}
	if err == nil && (s.Header.Timeline != e.Timeline || s.Header.Range() != e.Range) {
		err = fault.Newf(fault.Corrupt, "read segment", "it holds %s of timeline %d", s.Header.Range(), s.Header.Timeline)
	}
	if err != nil {
		return nil, fault.New(fault.KindOf(err), e.Key, err)
	}
	return s, nil
}

func (a *Archive) belongs(h Header) error {
	if h.Group != a.group || h.Workspace != a.workspace || h.Lineage != a.lineage {
		return fault.Newf(fault.Corrupt, "check segment", "it is of group %q, workspace %q, lineage %q", h.Group, h.Workspace, h.Lineage)
	}
	return nil
}

// Inventory is everything that a bucket holds of a lineage's WAL, by its keys.
type Inventory struct {
	Entries   []Entry                 // by timeline, then start
	Histories map[wal.Timeline][]byte // history files as they are
}

// List reads the inventory. Keys that are neither segments' nor history files' are passed over.
func (a *Archive) List(ctx context.Context) (Inventory, error) { return a.list(ctx, "") }

// ListFrom is List for those that follow a lineage: of the position's timeline it has only the objects that begin there or
// later, which is one short request at the end of a long lineage. An object that was merged, and begins before the position, is
// not among them, and neither are the history files of earlier timelines and of the position's own.
func (a *Archive) ListFrom(ctx context.Context, p wal.Position) (Inventory, error) {
	return a.list(ctx, a.prefix+p.Timeline.Key()+"/"+p.LSN.Key())
}

func (a *Archive) list(ctx context.Context, after string) (Inventory, error) {
	inv := Inventory{Histories: map[wal.Timeline][]byte{}}
	for info, err := range a.store.List(ctx, a.prefix, after) {
		if err != nil {
			return Inventory{}, err
		}
		if e, ok := a.parseKey(info); ok && a.passes(e.Timeline) {
			inv.Entries = append(inv.Entries, e)
		} else if t, ok := a.parseHistoryKey(info.Key); ok && a.passes(t) {
			inv.Histories[t] = nil
		}
	}
	for t := range inv.Histories {
		b, _, err := a.store.Get(ctx, a.prefix+wal.HistoryFileName(t))
		if err != nil {
			return Inventory{}, err
		}
		inv.Histories[t] = b
	}
	return inv, nil
}

// Line returns the line that a lineage follows by the history files in the inventory.
func (inv Inventory) Line(start wal.Timeline) (Line, error) {
	parsed := map[wal.Timeline]wal.History{}
	for t, b := range inv.Histories {
		h, err := wal.ParseHistory(b)
		if err != nil {
			return Line{}, fault.New(fault.Corrupt, "read "+wal.HistoryFileName(t), err)
		}
		parsed[t] = h
	}
	return NewestLine(start, parsed), nil
}

// CheckHistories fails with fault.Missing when there is WAL of a timeline whose history file is not there: shippers store that first,
// and without it nobody knows that the lineage goes on there, so that all of it would be passed over in silence.
func (inv Inventory) CheckHistories() error {
	for _, e := range inv.Entries {
		if _, ok := inv.Histories[e.Timeline]; !ok && e.Timeline > 1 {
			return fault.Newf(fault.Missing, "check histories", "there is WAL of timeline %d (%s) without its history file %s", e.Timeline, e.Key, wal.HistoryFileName(e.Timeline)).
				WithHint("Look for the file in the other region's bucket, or in pg_wal of the server that wrote it.")
		}
	}
	return nil
}

// Histories returns the stored history files by timeline, as they are.
func (a *Archive) Histories(ctx context.Context) (map[wal.Timeline][]byte, error) {
	inv, err := a.List(ctx)
	return inv.Histories, err
}

// parseKey reads <prefix><TLI>/<start>-<end>.seg.
func (a *Archive) parseKey(info objectstore.Info) (Entry, bool) {
	name, ok := strings.CutPrefix(info.Key, a.prefix)
	dir, file, ok2 := strings.Cut(name, "/")
	file, ok3 := strings.CutSuffix(file, ".seg")
	start, end, ok4 := strings.Cut(file, "-")
	if !ok || !ok2 || !ok3 || !ok4 {
		return Entry{}, false
	}
	t, err1 := wal.ParseTimelineKey(dir)
	s, err2 := wal.ParseLSNKey(start)
	e, err3 := wal.ParseLSNKey(end)
	if err1 != nil || err2 != nil || err3 != nil || s >= e {
		return Entry{}, false
	}
	return Entry{t, wal.Range{Start: s, End: e}, info.Size, info.Key}, true
}

func (a *Archive) parseHistoryKey(key string) (wal.Timeline, bool) {
	name, ok := strings.CutSuffix(strings.TrimPrefix(key, a.prefix), ".history")
	if !ok {
		return 0, false
	}
	t, err := wal.ParseTimelineKey(name)
	return t, err == nil
}

// PutHistory stores a timeline's history file unless it is there already; another one in its place is fault.Diverged.
func (a *Archive) PutHistory(ctx context.Context, t wal.Timeline, content []byte) error {
	if _, err := wal.ParseHistory(content); err != nil {
		return fault.New(fault.Corrupt, "put "+wal.HistoryFileName(t), err)
	}
	key := a.prefix + wal.HistoryFileName(t)
	_, err := a.store.Put(ctx, key, content, objectstore.PutOptions{IfAbsent: true})
	if !fault.Is(err, fault.Conflict) {
		return err
	}
	there, _, err := a.store.Get(ctx, key)
	if err != nil {
		return err
	}
	if string(there) != string(content) {
		return fault.Newf(fault.Diverged, "put history", "%s has another content", key).
			WithHint("Two servers went to timeline %d in lineage %s. Find out which one clients used before going on.", t, a.lineage)
	}
	return nil
}
