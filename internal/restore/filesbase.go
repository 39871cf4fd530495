package restore

import (
	"context"
	"os"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/snapshot"
)

// withoutBases leaves out of what is to be fetched the bases that lie where their deltas belong already, from an earlier attempt, or at that
// place in an older directory: then only the deltas are fetched.
func (f *files) withoutBases(ctx context.Context, whole []snapshot.PackPart, resumed bool) ([]snapshot.PackPart, error) {
	if !resumed && len(f.Reuse) == 0 {
		return whole, nil
	}
	var mu sync.Mutex
	there := map[snapshot.Hash]bool{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(f.Parallel)
	for _, part := range whole {
		for _, e := range part.Entries {
			if _, wanted := f.plan.first[e.Hash]; wanted {
				continue
			}
			g.Go(func() error {
				laid, err := f.layBase(ctx, e)
				mu.Lock()
				defer mu.Unlock()
				there[e.Hash] = laid
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i := range whole {
		whole[i].Entries = slices.DeleteFunc(whole[i].Entries, func(e snapshot.Entry) bool { return there[e.Hash] })
	}
	return whole, nil
}

// layBase reports whether a base is at every place of the deltas on it, when it has taken it from older directories where it could.
func (f *files) layBase(ctx context.Context, base snapshot.Entry) (bool, error) {
	buf := make([]byte, base.Raw)
	all := true
	for _, h := range f.plan.onto[base.Hash] {
		err := f.plan.each(h, func(file, chunk int) error {
			if err := ctx.Err(); err != nil || !all {
				return err
			}
			var err error
			all, err = f.layAt(file, chunk, base.Hash, buf)
			return err
		})
		if err != nil || !all {
			return false, err
		}
	}
	return all, nil
}

func (f *files) layAt(file, chunk int, base snapshot.Hash, buf []byte) (bool, error) {
	if file == f.plan.controlFile {
		return false, nil
	}
	mf, at := &f.m.Files[file], int64(chunk)*snapshot.ChunkSize
	n := snapshot.ChunkLen(mf.Size, chunk)
	if n >= len(buf) && holdsBase(f.place.path(mf.Path), at, buf, base) {
		return true, nil
	}
	for _, dir := range f.Reuse {
		from := openOlder(dir, mf.Path)
		if from == nil {
			continue
		}
		found := holdsChunk(from, at, buf, base)
		_ = from.Close() // only read from
		if found {
			n = min(n, len(buf))
			return true, f.write(file, chunk, buf[:n], snapshot.Span{To: n})
		}
	}
	return false, nil
}

func holdsBase(path string, at int64, buf []byte, base snapshot.Hash) bool {
	file, err := os.OpenFile(path, os.O_RDONLY|noFollow, 0)
	if err != nil {
		return false
	}
	defer file.Close()
	return holdsChunk(file, at, buf, base)
}
