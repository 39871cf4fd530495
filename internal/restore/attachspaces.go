package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/smartdr/smartdr/internal/fault"
)

const opSpaces = "place tablespaces"

// createdSince are the tablespaces whose making will be replayed. Replay wants their folders where the primary had them,
// and those may exist on this host: they are the primary's then, and it would write into them.
func (a *attach) createdSince() (spaces []CreatedTablespace) {
	for _, ts := range a.Tablespaces {
		if ts.At >= a.ReplayFrom && ts.Location != "" {
			spaces = append(spaces, ts)
		}
	}
	return spaces
}

// placeTablespaces puts, for the time of recovery, a link where replay looks for a tablespace, which leads to a folder beside the
// data directory. What is there already is never touched, unless it is empty.
func (a *attach) placeTablespaces() error {
	for _, ts := range a.createdSince() {
		if err := a.placeTablespace(ts); err != nil {
			return err
		}
	}
	return nil
}

func (a *attach) placeTablespace(ts CreatedTablespace) error {
	switch free, err := a.free(ts.Location); {
	case err != nil:
		return err
	case !free:
		return nil
	}
	dir := a.spacePath(ts)
	err := errors.Join(os.MkdirAll(dir, 0o700), os.MkdirAll(filepath.Dir(ts.Location), 0o755))
	if err == nil {
		err = errors.Join(a.Server.Own(filepath.Dir(dir)), a.Server.Own(dir), os.Symlink(dir, ts.Location))
	}
	if err != nil {
		return a.unplaced(ts, "its folder %s cannot be made on this host: %v", ts.Location, err).
			WithHint("Make an empty folder of that name that belongs to the account of the server, and run the operation again.")
	}
	return nil
}

// free reports whether nothing is at a tablespace's place. A link of ours that an earlier attempt made is as it should be; one
// that leads nowhere is of an attempt that was given up.
func (a *attach) free(location string) (bool, error) {
	info, err := os.Lstat(location)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return false, fault.New(fault.Transient, opSpaces, err)
	case info.Mode()&fs.ModeSymlink != 0:
		return a.freeLink(location)
	}
	if entries, err := os.ReadDir(location); err == nil && len(entries) == 0 {
		return false, nil // made for this, as PostgreSQL itself asks for it
	}
	return false, a.occupied(location)
}

func (a *attach) freeLink(location string) (bool, error) {
	to, err := os.Readlink(location)
	if err != nil {
		return false, fault.New(fault.Transient, opSpaces, err)
	}
	if filepath.Dir(to) == a.spacesDir() {
		return false, nil
	}
	if _, err := os.Stat(location); !errors.Is(err, fs.ErrNotExist) {
		return false, a.occupied(location)
	}
	if err := os.Remove(location); err != nil {
		return false, a.occupied(location)
	}
	return true, nil
}

func (a *attach) occupied(location string) error {
	for _, ts := range a.createdSince() {
		if ts.Location == location {
			return a.unplaced(ts, "there is something at %s on this host, which may be the primary's, and replay would write into it: nothing was touched", location).
				WithHint("Restore on a host that has nothing there, or, if it is nobody's, move %s away and run the operation again.", location)
		}
	}
	return nil
}

func (a *attach) unplaced(ts CreatedTablespace, format string, args ...any) *fault.Error {
	return fault.Newf(fault.Invalid, opSpaces, "tablespace %d was made after the snapshot, at %s: %s", ts.OID, ts.At, fmt.Sprintf(format, args...))
}

func (a *attach) spacesDir() string { return filepath.Join(a.Server.InstanceDir(), "tablespaces") }

func (a *attach) spacePath(ts CreatedTablespace) string {
	return filepath.Join(a.spacesDir(), strconv.FormatUint(uint64(ts.OID), 10))
}

// leaveRecovery waits for a checkpoint where recovery needed what the server will not have from now on: until there is one, a
// crash would replay the zeros of databases that were left out, or the making of tablespaces, once more.
func (a *attach) leaveRecovery(ctx context.Context) error {
	if len(a.OmittedDatabases) == 0 && len(a.createdSince()) == 0 {
		return nil
	}
	if err := a.connect(ctx); err != nil {
		return err
	}
	if _, err := a.conn.pg.Exec(ctx, "CHECKPOINT"); err != nil {
		return fault.New(fault.Transient, "checkpoint", err)
	}
	return nil
}

// settleTablespaces lets the promoted server's links lead to the folders themselves, and takes away what stood in for them.
func (a *attach) settleTablespaces() (notes []string, err error) {
	made := a.createdSince()
	for _, ts := range made {
		note, err := a.settleTablespace(ts)
		if err != nil {
			return nil, fault.New(fault.Transient, opSpaces, err)
		}
		if note != "" {
			notes = append(notes, note)
		}
	}
	return notes, a.removeStandIns(made)
}

func (a *attach) removeStandIns(made []CreatedTablespace) error {
	for _, ts := range made {
		to, err := os.Readlink(ts.Location)
		if err != nil || filepath.Dir(to) != a.spacesDir() {
			continue
		}
		if err := os.Remove(ts.Location); err != nil {
			return fault.New(fault.Transient, opSpaces, err)
		}
	}
	return nil
}

// settleTablespace replaces one link in one step: the server is running.
func (a *attach) settleTablespace(ts CreatedTablespace) (note string, err error) {
	link := filepath.Join(a.Server.DataDir, "pg_tblspc", strconv.FormatUint(uint64(ts.OID), 10))
	to, err := os.Readlink(link)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // dropped again
	}
	if err == nil && to == ts.Location {
		if to, err = filepath.EvalSymlinks(link); err == nil && to != ts.Location {
			err = a.relink(link, to)
		}
	}
	return fmt.Sprintf("tablespace %d was made after the snapshot: its files lie in %s", ts.OID, to), err
}

func (a *attach) relink(link, to string) error {
	stand := filepath.Join(filepath.Dir(link), "smartdr.tmp")
	if err := os.Remove(stand); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(to, stand); err != nil {
		return err
	}
	if err := errors.Join(os.Rename(stand, link), syncFolder(filepath.Dir(link))); err != nil {
		return err
	}
	return nil
}
