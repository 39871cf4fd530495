package restore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/snapshot"
)

// makeFolders makes every folder, parents first.
func (p *place) makeFolders(m *snapshot.Manifest) error {
	modes := map[string]fs.FileMode{p.data: dataMode(m)}
	for _, dir := range p.spaces {
		modes[filepath.Dir(dir)] = 0o700
		modes[dir] = 0o700
	}
	for i := range m.Files {
		if f := &m.Files[i]; f.Dir {
			modes[p.path(f.Path)] = fs.FileMode(f.Mode)
		}
	}
	for _, path := range sortedKeys(modes) {
		if err := p.makeFolder(path, modes[path]); err != nil {
			return err
		}
	}
	return nil
}

func sortedKeys(modes map[string]fs.FileMode) []string {
	keys := make([]string, 0, len(modes))
	for k := range modes {
		keys = append(keys, k)
	}
	slices.Sort(keys) // a folder sorts before what lies in it
	return keys
}

func (p *place) makeFolder(path string, mode fs.FileMode) error {
	if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Chmod(mode), p.own(d), d.Close()) // the umask must not count
}

// dataMode follows initdb's --allow-group-access, which the base backup shows only in the files' modes. The server
// refuses anything else.
func dataMode(m *snapshot.Manifest) fs.FileMode {
	for i := range m.Files {
		if f := &m.Files[i]; f.Path == "PG_VERSION" && f.Mode&0o040 != 0 {
			return 0o750
		}
	}
	return 0o700
}

// makeFiles makes every file at its full length, a hole from end to end. When an attempt is resumed it also finds
// out, by content, what is filled already.
func (p *place) makeFiles(ctx context.Context, pl *plan, parallel int, resumed bool) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i := range pl.m.Files {
		f := &pl.m.Files[i]
		if f.Dir || i == pl.controlFile || made(f) {
			p.settleUnfilled(pl, i)
			continue
		}
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return p.makeFile(pl, i, resumed)
		})
	}
	return g.Wait()
}

// settleUnfilled counts what this step does not fill, and what is not fetched.
func (p *place) settleUnfilled(pl *plan, i int) {
	if f := &pl.m.Files[i]; made(f) {
		pl.done.Add(f.Size)
	}
}

func (p *place) makeFile(pl *plan, i int, resumed bool) error {
	f := &pl.m.Files[i]
	path := p.path(f.Path)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|noFollow, fs.FileMode(f.Mode))
	if err != nil {
		return err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fault.Newf(fault.Invalid, opFiles, "%s is no regular file", path)
	}
	if err := p.adjust(file, st, f); err != nil {
		return err
	}
	if !resumed || st.Size() == 0 {
		pl.settleZeros(i)
		return nil
	}
	return pl.compare(i, file)
}

// adjust gives a file its mode, owner and length, by as few calls as possible: each costs the file system's journal an
// entry, and a cluster has thousands of small files.
func (p *place) adjust(file *os.File, st fs.FileInfo, f *snapshot.File) error {
	if mode := fs.FileMode(f.Mode); st.Mode().Perm() != mode { // the umask, or an earlier attempt
		if err := file.Chmod(mode); err != nil {
			return err
		}
	}
	if err := p.own(file); err != nil {
		return err
	}
	filledAtOnce := st.Size() == 0 && len(f.Chunks) == 1 && !f.Chunks[0].IsZero()
	if st.Size() == f.Size || filledAtOnce {
		return nil
	}
	return file.Truncate(f.Size)
}

// settleZeros counts the chunks that a hole already stands for.
func (p *plan) settleZeros(i int) {
	for k, h := range p.m.Files[i].Chunks {
		if h.IsZero() {
			p.there[p.base[i]+int32(k)] = true
			p.settle(i, k, false)
		}
	}
}

// compare finds the chunks that a file holds already, and puts zeros where nothing else belongs.
func (p *plan) compare(i int, file *os.File) error {
	f := &p.m.Files[i]
	buf := make([]byte, snapshot.ChunkSize)
	for k := range snapshot.ChunkCount(f.Size) {
		b := buf[:snapshot.ChunkLen(f.Size, k)]
		at := int64(k) * snapshot.ChunkSize
		if _, err := io.ReadFull(io.NewSectionReader(file, at, int64(len(b))), b); err != nil {
			return err
		}
		want := snapshot.Hash{} // what is left out is all zeros
		if !f.Omitted {
			want = f.Chunks[k]
		}
		same := snapshot.HashOf(b) == want
		if !same && want.IsZero() {
			clear(b)
			if _, err := file.WriteAt(b, at); err != nil {
				return err
			}
			same = true
		}
		if same && !f.Omitted {
			p.there[p.base[i]+int32(k)] = true
			p.settle(i, k, !want.IsZero())
		}
	}
	return nil
}
