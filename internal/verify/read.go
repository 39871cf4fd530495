package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
)

const (
	// batchItems and batchBytes bound what is read between two positions from which an interrupted check goes on.
	batchItems = 64
	batchBytes = 256 << 20
	// piece is how much of a pack is read at a time, so that what is in memory does not depend on the size of packs.
	piece = 8 << 20
)

// item is one object to be read back.
type item struct {
	key  string
	size int64
	read func(ctx context.Context) (*Altered, error)
}

// reader reads contents back.
type reader struct {
	*Check
	decoder  *snapshot.Decoder
	mu       sync.Mutex
	at       Position // all before it is done
	pending  Position // what the batch has added
	of       int
	ofBytes  int64
	began    time.Time
	fromByte int64
}

// readBack reads as much as was asked for, from where an earlier run ended.
func (c *Check) readBack(ctx context.Context, w *walk) (Position, error) {
	if c.Read == topology.VerifyNone {
		return Position{}, nil
	}
	r := &reader{Check: c, decoder: snapshot.NewDecoder(atOnce), at: c.From, began: c.Now(), fromByte: c.From.Bytes}
	defer r.decoder.Close()
	r.at.Seed = c.Seed
	items, err := r.items(ctx, w)
	if err != nil {
		return r.at, err
	}
	for _, i := range items {
		r.of, r.ofBytes = r.of+1, r.ofBytes+i.size
	}
	items = slices.DeleteFunc(items, func(i item) bool { return i.key <= c.From.After })
	for len(items) > 0 {
		n := batch(items, c.Batch)
		if err := r.batch(ctx, items[:n]); err != nil {
			return r.at, err
		}
		items = items[n:]
	}
	return r.at, nil
}

// items are all objects to be read, by key.
func (r *reader) items(ctx context.Context, w *walk) (items []item, err error) {
	for _, ws := range w.workspaces {
		chosen := r.chosen(ws)
		items = append(items, r.segments(ws, chosen)...)
		items = append(items, r.missingParts(ws, chosen)...)
		packs, err := r.packs(ctx, ws, chosen)
		if err != nil {
			return nil, err
		}
		items = append(items, packs...)
	}
	slices.SortFunc(items, func(a, b item) int { return cmp.Compare(a.key, b.key) })
	return items, nil
}

// batch is how many items are read before a position is noted.
func batch(items []item, most int) (n int) {
	bytes := int64(0)
	for n < len(items) && n < most && bytes < batchBytes {
		bytes += items[n].size
		n++
	}
	return n
}

func (r *reader) batch(ctx context.Context, items []item) error {
	r.pending = r.at
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, i := range items {
		g.Go(func() error { return r.one(ctx, i) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	r.pending.After = items[len(items)-1].key
	slices.SortFunc(r.pending.Bad, func(a, b Altered) int { return cmp.Compare(a.Key, b.Key) })
	r.at = r.pending
	r.say()
	return nil
}

func (r *reader) one(ctx context.Context, i item) error {
	bad, err := i.read(ctx)
	if fault.Is(err, fault.Missing) {
		return nil // it was merged or removed meanwhile, or the next walk finds it missing
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending.Objects, r.pending.Bytes = r.pending.Objects+1, r.pending.Bytes+i.size
	if bad != nil {
		r.pending.Bad = append(slices.Clip(r.pending.Bad), *bad)
	}
	r.say()
	return nil
}

func (r *reader) say() {
	p := Progress{Doing: "read back", Objects: r.pending.Objects, Of: r.of, Bytes: r.pending.Bytes, OfBytes: r.ofBytes, At: r.at}
	if took := r.Now().Sub(r.began).Seconds(); took > 0 {
		p.Rate = float64(r.pending.Bytes-r.fromByte) / took
	}
	r.Say(p)
}

// segments are those of a workspace that are read.
func (r *reader) segments(ws *workspace, chosen func(key string) bool) (items []item) {
	for _, id := range slices.Sorted(maps.Keys(ws.lineages)) {
		l := ws.lineages[id]
		slices.SortFunc(l.entries, func(a, b archive.Entry) int {
			return cmp.Or(cmp.Compare(a.Timeline, b.Timeline), cmp.Compare(a.Range.Start, b.Range.Start))
		})
		for n, e := range l.entries {
			if chosen(e.Key) {
				items = append(items, item{e.Key, e.Size, func(ctx context.Context) (*Altered, error) { return l.readBack(ctx, n) }})
			}
		}
	}
	return items
}

// readBack reads a segment, and compares it with what begins within it.
func (l *lineage) readBack(ctx context.Context, n int) (*Altered, error) {
	e := l.entries[n]
	s, err := l.archive.Get(ctx, e)
	if fault.Is(err, fault.Corrupt) {
		return &Altered{Key: e.Key, What: "its content is damaged: " + err.Error()}, nil
	}
	if err != nil {
		return nil, err
	}
	for _, f := range l.entries[n+1:] {
		if f.Timeline != e.Timeline || f.Range.Start >= e.Range.End {
			break
		}
		if worse := l.compare(s, e, f); worse != "" {
			return &Altered{Key: worse, What: fmt.Sprintf("it holds other WAL than what overlaps it: %s and %s disagree", e.Key, f.Key)}, nil
		}
	}
	return nil, nil
}

// compare returns which of two overlapping segments is not what the rest of the lineage goes with, or "" when they agree.
func (l *lineage) compare(s *archive.Segment, e, f archive.Entry) string {
	h := l.heads[f.Key]
	before, err := s.DigestAt(f.Range.Start)
	agree := err == nil && before.Sum() == h.before
	if f.Range.End < e.Range.End && agree {
		after, err := s.DigestAt(f.Range.End)
		agree = err == nil && after.Sum() == h.digest
	}
	switch {
	case agree:
		return ""
	case l.support(e) < l.support(f):
		return e.Key
	}
	return f.Key
}

// support counts the segments that continue one, or that it continues.
func (l *lineage) support(e archive.Entry) (n int) {
	own := l.heads[e.Key]
	for _, f := range l.entries {
		if h := l.heads[f.Key]; f.Timeline == e.Timeline && (f.Range.End == e.Range.Start && h.digest == own.before || f.Range.Start == e.Range.End && h.before == own.digest) {
			n++
		}
	}
	return n
}

// packs are those of a workspace that are read, and their page fingerprints.
func (r *reader) packs(ctx context.Context, ws *workspace, chosen func(key string) bool) (items []item, err error) {
	indexes := map[string]snapshot.Index{}
	bases := map[snapshot.Hash]*snapshot.Place{}
	var all []snapshot.Index
	err = snapshot.EachIndex(ctx, ws.here, ws.Group.Name, ws.Name, func(x snapshot.Index) {
		if x.Err != nil {
			return
		}
		all = append(all, x)
		if chosen(snapshot.PackKey(ws.Group.Name, ws.Name, x.ID)) {
			indexes[x.ID] = x
			for _, h := range x.Bases() {
				bases[h] = nil
			}
		}
	})
	for _, x := range all {
		for _, e := range x.Entries {
			if _, base := bases[e.Hash]; base && !e.IsDelta() {
				bases[e.Hash] = &snapshot.Place{Pack: x.ID, Entry: e}
			}
		}
	}
	for _, p := range ws.bucket.Packs {
		x, ok := indexes[p.ID]
		if ok && p.Readable() {
			items = append(items, item{p.Body.Key, p.Body.Size, func(ctx context.Context) (*Altered, error) { return r.pack(ctx, ws, x, bases) }})
		}
		if ok && p.Pages.Key != "" {
			items = append(items, item{p.Pages.Key, p.Pages.Size, func(ctx context.Context) (*Altered, error) { return pages(ctx, ws, p.Pages.Key) }})
		}
	}
	return items, err
}

func pages(ctx context.Context, ws *workspace, key string) (*Altered, error) {
	b, _, err := ws.here.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	if err := snapshot.CheckPages(b); err != nil {
		return &Altered{Key: key, What: "it cannot be read: " + err.Error()}, nil
	}
	return nil, nil
}

// pack verifies every chunk of a pack, those that are deltas with their bases.
func (r *reader) pack(ctx context.Context, ws *workspace, x snapshot.Index, bases map[snapshot.Hash]*snapshot.Place) (*Altered, error) {
	key := snapshot.PackKey(ws.Group.Name, ws.Name, x.ID)
	entries := slices.SortedFunc(slices.Values(x.Entries), func(a, b snapshot.Entry) int { return cmp.Compare(a.Offset, b.Offset) })
	bad := &Altered{Key: key}
	var buf []byte
	for len(entries) > 0 {
		n, off, size := pieceOf(entries)
		b, err := ws.here.GetRange(ctx, key, off, size)
		if err != nil && !fault.Is(err, fault.Corrupt) {
			return nil, err
		}
		for _, e := range entries[:n] {
			problem := err
			if problem == nil {
				buf, problem = r.chunk(ctx, ws, &snapshot.Place{Pack: x.ID, Entry: e, Base: bases[e.Base]}, b[int64(e.Offset)-off:][:e.Size], buf)
			}
			var gone *fault.Error
			if errors.As(problem, &gone) && !fault.Is(problem, fault.Corrupt) && !fault.Is(problem, fault.Missing) {
				return nil, problem
			}
			if problem != nil {
				bad.Chunks = append(bad.Chunks, e.Hash.String())
				bad.What = cmp.Or(bad.What, problem.Error())
			}
		}
		entries = entries[n:]
	}
	if len(bad.Chunks) == 0 {
		return nil, nil
	}
	bad.What = fmt.Sprintf("%d of its %d chunks are damaged: %s", len(bad.Chunks), len(x.Entries), bad.What)
	return bad, nil
}

// pieceOf returns how many entries are read at once, and their bytes.
func pieceOf(entries []snapshot.Entry) (n int, off, size int64) {
	off = int64(entries[0].Offset)
	for n < len(entries) {
		end := int64(entries[n].Offset) + int64(entries[n].Size)
		if n > 0 && end-off > piece {
			break
		}
		size = max(size, end-off)
		n++
	}
	return n, off, size
}

// chunk verifies one. A delta is put together with its base, unless that is bad itself: then its own bytes are looked at, since the base's pack is found.
func (r *reader) chunk(ctx context.Context, ws *workspace, at *snapshot.Place, stored, buf []byte) ([]byte, error) {
	buf, err := r.decoder.Check(stored, at.Entry, buf)
	if err != nil || !at.Entry.IsDelta() || at.Base == nil {
		return buf, err
	}
	_, err = r.decoder.ReadChunk(ctx, ws.here, ws.Group.Name, ws.Name, at)
	if fault.Is(err, fault.Missing) || fault.Is(err, fault.Corrupt) && strings.Contains(err.Error(), snapshot.PackKey(ws.Group.Name, ws.Name, at.Base.Pack)) {
		return buf, nil
	}
	return buf, err
}
