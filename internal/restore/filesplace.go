package restore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/snapshot"
)

// place is where a snapshot is restored to. What SmartDR notes about it lies beside the data directory and not in
// it, where later base backups would copy it.
type place struct {
	data     string // absolute
	uid, gid int    // both 0: leave
	spaces   map[string]string
}

// controlPath is the file without which no server starts (src/include/catalog/pg_control.h).
const controlPath = "global/pg_control"

// mapPath is the file that makes recovery create the links of tablespaces (TABLESPACE_MAP in access/xlog.h).
const mapPath = "tablespace_map"

func newPlace(data string, in FilesInput) *place {
	p := &place{data: data, uid: in.UID, gid: in.GID, spaces: map[string]string{}}
	for _, ts := range in.Manifest.Tablespaces {
		if !ts.InPlace {
			p.spaces[snapshot.TablespacePath(ts.OID)] = filepath.Join(filepath.Dir(data), "tablespaces", fmt.Sprint(ts.OID))
		}
	}
	return p
}

func (p *place) markerPath() string { return filepath.Join(filepath.Dir(p.data), "restore.json") }

// path returns where a file of the manifest goes.
func (p *place) path(name string) string {
	parts := strings.SplitN(name, "/", 3)
	if len(parts) >= 2 {
		if dir, ok := p.spaces[parts[0]+"/"+parts[1]]; ok {
			return filepath.Join(append([]string{dir}, parts[2:]...)...)
		}
	}
	return filepath.Join(p.data, filepath.FromSlash(name))
}

// lock keeps a second restore out, also one of this process that was given up and still writes: it could write into
// the files of a server that runs already.
func (p *place) lock() (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(p.data), 0o755); err != nil {
		return nil, p.judge(err, nil)
	}
	f, err := os.OpenFile(p.markerPath()+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, p.judge(err, nil)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fault.Newf(fault.Conflict, opFiles, "another restore into %s is under way: %w", p.data, err)
	}
	return func() { f.Close() }, nil
}

// marker is what restore.json says.
type marker struct {
	Format    int    `json:"format"`
	Group     string `json:"group"`
	Workspace string `json:"workspace"`
	Snapshot  string `json:"snapshot"`
	State     string `json:"state"`

	resumed bool // it was there
}

const (
	stateRestoring = "restoring"
	stateComplete  = "complete" // all but pg_control
)

// open returns the marker of an earlier attempt at the same snapshot, or makes one where nothing is.
func (p *place) open(m *snapshot.Manifest) (marker, error) {
	mine := marker{Format: 1, Group: m.Group, Workspace: m.Workspace, Snapshot: m.ID, State: stateRestoring}
	b, err := os.ReadFile(p.markerPath())
	if errors.Is(err, fs.ErrNotExist) {
		if err := p.checkEmpty(); err != nil {
			return marker{}, err
		}
		return mine, p.judge(p.writeMarker(mine), nil)
	}
	if err != nil {
		return marker{}, p.judge(err, nil)
	}
	var old marker
	if err := json.Unmarshal(b, &old); err != nil {
		return marker{}, p.foreign("%s cannot be read: %v", p.markerPath(), err)
	}
	if old.Group != mine.Group || old.Workspace != mine.Workspace || old.Snapshot != mine.Snapshot || old.Format != mine.Format {
		return marker{}, p.foreign("it holds snapshot %s of %s/%s", old.Snapshot, old.Group, old.Workspace)
	}
	old.resumed = true
	return old, nil
}

// checkEmpty refuses folders with something in them. pg_wal alone may be there, since WAL may be fetched first.
func (p *place) checkEmpty() error {
	dirs := []string{p.data}
	for _, dir := range p.spaces {
		dirs = append(dirs, dir)
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return p.judge(err, nil)
		}
		for _, e := range entries {
			if dir != p.data || e.Name() != "pg_wal" {
				return p.foreign("%s holds %s already", dir, e.Name())
			}
		}
	}
	return nil
}

func (p *place) foreign(format string, args ...any) error {
	return fault.Newf(fault.Invalid, opFiles, "not into %s: "+format, append([]any{p.data}, args...)...).
		WithHint("Nothing was changed. Choose an empty folder, or move %s and what lies beside it away.", p.data)
}

func (p *place) writeMarker(m marker) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return p.replace(p.markerPath(), append(b, '\n'), 0o600)
}

func (p *place) hasControl() bool {
	_, err := os.Lstat(p.path(controlPath))
	return err == nil
}

// writeControl lets the directory start.
func (p *place) writeControl(b []byte) error {
	b, err := postgres.ReplaceableInvalidControl(b)
	if err != nil {
		return err
	}
	return p.replace(p.path(controlPath), b, 0o600)
}

// writeTablespaceMap points the tablespaces' links to where they are restored. The server unescapes backslashes.
func (p *place) writeTablespaceMap(m *snapshot.Manifest) error {
	escape := strings.NewReplacer(`\`, `\\`, "\n", "\\\n", "\r", "\\\r")
	var b strings.Builder
	for _, ts := range m.Tablespaces {
		if dir, ok := p.spaces[snapshot.TablespacePath(ts.OID)]; ok {
			fmt.Fprintf(&b, "%d %s\n", ts.OID, escape.Replace(dir))
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return p.write(p.path(mapPath), []byte(b.String()), 0o600, false) // the sync of everything comes later
}

// replace writes a whole file, durably, or leaves the old one.
func (p *place) replace(path string, b []byte, mode fs.FileMode) error {
	tmp := path + ".smartdr"
	if err := p.write(tmp, b, mode, true); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func (p *place) write(path string, b []byte, mode fs.FileMode, durable bool) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|noFollow, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, p.own(f))
	if durable && err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (p *place) own(f *os.File) error {
	if p.uid == 0 && p.gid == 0 {
		return nil
	}
	return f.Chown(p.uid, p.gid)
}

// judge gives errors of the file system their kind. pl, if known, says how much is still to be written.
func (p *place) judge(err error, pl *plan) error {
	var already *fault.Error
	switch {
	case err == nil, errors.As(err, &already):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e := fault.New(fault.Full, opFiles, err)
		if pl == nil {
			return e.WithHint("Make room in the file system of %s and try again.", p.data)
		}
		return e.WithHint("Make room for another %d MiB in the file system of %s and try again: what is restored is kept.",
			(pl.total-pl.done.Load())>>20+1, p.data)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		return fault.New(fault.Invalid, opFiles, err).WithHint("The worker must be able to write %s.", p.data)
	}
	return fault.New(fault.Transient, opFiles, err)
}
