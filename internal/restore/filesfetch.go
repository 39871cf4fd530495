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

// fetch fills files by many requests at a time.
func (f *files) fetch(ctx context.Context, parts []snapshot.PackPart) error {
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
	d := snapshot.NewDecoder(f.Parallel)
	defer d.Close()
	for range f.Parallel {
		g.Go(func() error {
			buf := make([]byte, 0, snapshot.ChunkSize)
			for r := range queue {
				if err := f.fetchRun(ctx, r, d, buf); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (f *files) fetchRun(ctx context.Context, r run, d *snapshot.Decoder, buf []byte) error {
	key := snapshot.PackKey(f.m.Group, f.m.Workspace, r.pack)
	b, err := f.Store.GetRange(ctx, key, r.start, r.end-r.start)
	if err != nil {
		return err
	}
	f.plan.fetched.Add(int64(len(b)))
	for _, e := range r.entries {
		at := int64(e.Offset) - r.start
		raw, err := d.Decode(b[at:at+int64(e.Size)], e.Hash, int(e.Raw), buf)
		if err != nil {
			return f.corrupt(key, e, err)
		}
		if err := f.plan.each(e.Hash, func(file, chunk int) error { return f.put(file, chunk, raw) }); err != nil {
			return err
		}
	}
	return nil
}

// corrupt names the object, the bytes, and one file that needs them.
func (f *files) corrupt(key string, e snapshot.Entry, err error) error {
	needed := ""
	_ = f.plan.each(e.Hash, func(file, chunk int) error {
		needed = fmt.Sprintf("chunk %d of %s", chunk, f.m.Files[file].Path)
		return nil
	})
	return fault.Newf(fault.Corrupt, opFiles, "object %s, bytes %d to %d, needed for %s: %w", key, e.Offset, int64(e.Offset)+int64(e.Size), needed, err).
		WithHint("The object was altered or damaged. Use an older snapshot, or the other region's bucket.")
}

// put writes a chunk to its place.
func (f *files) put(file, chunk int, raw []byte) error {
	mf := &f.m.Files[file]
	if len(raw) != snapshot.ChunkLen(mf.Size, chunk) {
		return fault.Newf(fault.Corrupt, opFiles, "chunk %d of %s has %d bytes", chunk, mf.Path, len(raw))
	}
	if file == f.plan.controlFile {
		f.plan.control = append([]byte(nil), raw...)
		f.plan.settle(file, chunk, false)
		return nil
	}
	out, err := os.OpenFile(f.place.path(mf.Path), os.O_WRONLY|noFollow, 0)
	if err != nil {
		return err
	}
	at := int64(chunk) * snapshot.ChunkSize
	_, err = out.WriteAt(raw, at)
	if err == nil {
		startWriteback(out, at, int64(len(raw)))
		f.plan.settle(file, chunk, false)
	}
	return errors.Join(err, out.Close())
}
