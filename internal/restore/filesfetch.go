package restore

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/snapshot"
)

const (
	// runSize is how many bytes of a pack one request asks for at most: long enough that latency does not count.
	runSize = 8 << 20
	// runGap is what is fetched in vain rather than in a second request.
	runGap = 256 << 10
)

// run is a contiguous part of a pack with chunks that are wanted.
type run struct {
	pack       string
	entries    []snapshot.Entry
	start, end int64 // in the pack
}

// runs cuts what is wanted of a pack into requests.
func runs(part snapshot.PackPart) []run {
	var out []run
	for _, e := range part.Entries {
		start, end := int64(e.Offset), int64(e.Offset)+int64(e.Size)
		if n := len(out); n > 0 && start-out[n-1].end <= runGap && end-out[n-1].start <= runSize {
			last := &out[n-1]
			last.entries, last.end = append(last.entries, e), max(last.end, end)
			continue
		}
		out = append(out, run{pack: part.ID, entries: []snapshot.Entry{e}, start: start, end: end})
	}
	return out
}

// fetch fills files: first with what is stored whole, bases too, which are put where their deltas belong, then with the deltas. So each base is
// fetched once and none is kept in memory, however many there are.
func (f *files) fetch(ctx context.Context, whole, deltas []snapshot.PackPart) error {
	d := snapshot.NewDecoder(f.Parallel)
	defer d.Close()
	if err := f.fetchAll(ctx, whole, d, f.putWhole); err != nil {
		return err
	}
	return f.fetchAll(ctx, deltas, d, f.putDelta)
}

// taker brings one chunk, in the form in which it is stored, to its places. buf has room for a chunk.
type taker func(d *snapshot.Decoder, key string, e snapshot.Entry, stored, buf []byte) error

// fetchAll fetches by many requests at a time.
func (f *files) fetchAll(ctx context.Context, parts []snapshot.PackPart, d *snapshot.Decoder, take taker) error {
	g, ctx := errgroup.WithContext(ctx)
	queue := make(chan run)
	g.Go(func() error {
		defer close(queue)
		for _, part := range parts {
			for _, r := range runs(part) {
				select {
				case queue <- r:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		return nil
	})
	for range f.Parallel {
		g.Go(func() error {
			buf := make([]byte, 0, snapshot.ChunkSize)
			for r := range queue {
				if err := f.fetchRun(ctx, r, d, take, buf); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (f *files) fetchRun(ctx context.Context, r run, d *snapshot.Decoder, take taker, buf []byte) error {
	key := snapshot.PackKey(f.m.Group, f.m.Workspace, r.pack)
	b, err := f.Store.GetRange(ctx, key, r.start, r.end-r.start)
	if err != nil {
		return err
	}
	f.plan.fetched.Add(int64(len(b)))
	for _, e := range r.entries {
		at := int64(e.Offset) - r.start
		if err := take(d, key, e, b[at:at+int64(e.Size)], buf); err != nil {
			return err
		}
	}
	return nil
}

// putWhole puts a chunk to its places, and to those of the chunks that it is the base of.
func (f *files) putWhole(d *snapshot.Decoder, key string, e snapshot.Entry, stored, buf []byte) error {
	raw, err := d.Decode(stored, e.Hash, int(e.Raw), buf)
	if err != nil {
		return f.corrupt(key, e, err)
	}
	if err := f.plan.each(e.Hash, func(file, chunk int) error { return f.put(file, chunk, raw) }); err != nil {
		return err
	}
	return f.putBase(e.Hash, raw)
}

// corrupt names the object, the bytes, and one file that needs them.
func (f *files) corrupt(key string, e snapshot.Entry, err error) error {
	needed := ""
	for _, h := range append([]snapshot.Hash{e.Hash}, f.plan.onto[e.Hash]...) {
		_ = f.plan.each(h, func(file, chunk int) error {
			needed = fmt.Sprintf("chunk %d of %s", chunk, f.m.Files[file].Path)
			return nil
		})
	}
	return fault.Newf(fault.Corrupt, opFiles, "object %s, bytes %d to %d, needed for %s: %w", key, e.Offset, int64(e.Offset)+int64(e.Size), needed, err).
		WithHint("The object was altered or damaged. Use an older snapshot, or the other region's bucket.")
}

// put writes a chunk to its place.
func (f *files) put(file, chunk int, raw []byte) error {
	mf := &f.m.Files[file]
	if len(raw) != snapshot.ChunkLen(mf.Size, chunk) {
		return fault.Newf(fault.Corrupt, opFiles, "chunk %d of %s has %d bytes", chunk, mf.Path, len(raw))
	}
	if err := f.write(file, chunk, raw, snapshot.Span{To: len(raw)}); err != nil {
		return err
	}
	f.plan.settle(file, chunk, false)
	return nil
}

// write writes spans of a chunk to its place. pg_control is kept for the end.
func (f *files) write(file, chunk int, raw []byte, spans ...snapshot.Span) error {
	if file == f.plan.controlFile {
		f.plan.control = append([]byte(nil), raw...)
		return nil
	}
	out, err := os.OpenFile(f.place.path(f.m.Files[file].Path), os.O_WRONLY|noFollow, 0)
	if err != nil {
		return err
	}
	for _, s := range spans {
		at := int64(chunk)*snapshot.ChunkSize + int64(s.From)
		if _, err = out.WriteAt(raw[s.From:s.To], at); err != nil {
			break
		}
		startWriteback(out, at, int64(s.To-s.From))
	}
	return errors.Join(err, out.Close())
}
