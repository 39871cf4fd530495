package restore

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/snapshot"
)

// reuse fills files from older data directories: a chunk that is at the same place of the same file there, by its content, need not
// be fetched. Neither size nor time of a file is a sign of anything, and what cannot be read, or
// changes while it is read, is simply not the chunk.
func (f *files) reuse(ctx context.Context) error {
	if len(f.Reuse) == 0 {
		return nil
	}
	r := &reuser{files: f}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(f.Parallel)
	for i := range f.m.Files {
		if f.plan.lacks(i) {
			g.Go(func() error { return r.file(ctx, i) })
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	f.res.Local = r.local.Load()
	f.Log.Info("took from older folders what is there already", "folders", f.Reuse, "bytes", f.res.Local)
	return nil
}

// lacks reports whether a file has chunks that are not there.
func (p *plan) lacks(i int) bool {
	f := &p.m.Files[i]
	if f.Dir || made(f) || i == p.controlFile {
		return false
	}
	for k := range f.Chunks {
		if !p.there[p.base[i]+int32(k)] {
			return true
		}
	}
	return false
}

type reuser struct {
	*files
	local atomic.Int64
}

// file fills what it can of one file.
func (r *reuser) file(ctx context.Context, i int) error {
	f := &r.m.Files[i]
	to, err := os.OpenFile(r.place.path(f.Path), os.O_RDWR|noFollow, 0)
	if err != nil {
		return err
	}
	buf := make([]byte, min(snapshot.ChunkSize, f.Size))
	for _, dir := range r.Reuse {
		if err = r.from(ctx, dir, i, to, buf); err != nil {
			break
		}
	}
	return errors.Join(err, to.Close())
}

// from fills one file from one directory.
func (r *reuser) from(ctx context.Context, dir string, i int, to *os.File, buf []byte) error {
	f := &r.m.Files[i]
	from := openOlder(dir, f.Path)
	if from == nil {
		return nil
	}
	defer from.Close()
	for k, want := range f.Chunks {
		n := r.plan.base[i] + int32(k)
		if r.plan.there[n] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		b := buf[:snapshot.ChunkLen(f.Size, k)]
		at := int64(k) * snapshot.ChunkSize
		if !holdsChunk(from, at, b, want) {
			continue
		}
		if err := r.copy(from, to, at, b, want); err != nil {
			return err
		}
		r.plan.there[n] = true
		r.plan.settle(i, k, false)
		r.local.Add(int64(len(b)))
	}
	return nil
}

// openOlder opens a file of an older directory, or returns nil when it is not there or not for us. A tablespace is found through its
// link, wherever that leads, or where a restore puts it whose server has not made the links yet.
func openOlder(dir, path string) *os.File {
	if f, err := openRegular(filepath.Join(dir, filepath.FromSlash(path))); err == nil {
		return f
	}
	inside, ok := strings.CutPrefix(path, "pg_tblspc/")
	if !ok {
		return nil
	}
	f, err := openRegular(filepath.Join(filepath.Dir(dir), "tablespaces", filepath.FromSlash(inside)))
	if err != nil {
		return nil
	}
	return f
}

// openRegular opens a file for reading, without waiting for the other end of a pipe that somebody put there.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|noWait, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, f.Close(), os.ErrInvalid)
	}
	return f, nil
}

// holdsChunk reads as many bytes as b has, and says whether they are the chunk.
func holdsChunk(from io.ReaderAt, at int64, b []byte, want snapshot.Hash) bool {
	n, err := from.ReadAt(b, at)
	return n == len(b) && (err == nil || errors.Is(err, io.EOF)) && snapshot.HashOf(b) == want
}

// copy puts a chunk, which b holds, into its place: by sharing blocks where the file system can, and then what came there is looked at
// again, since the source may have changed after it was read.
func (r *reuser) copy(from, to *os.File, at int64, b []byte, want snapshot.Hash) error {
	if cloneRange(to, from, at, int64(len(b))) == nil && holdsChunk(to, at, make([]byte, len(b)), want) {
		return nil
	}
	if _, err := to.WriteAt(b, at); err != nil {
		return err
	}
	startWriteback(to, at, int64(len(b)))
	return nil
}
