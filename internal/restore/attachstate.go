package restore

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// attachFile holds the state of an attach, beside the data directory. Follow keeps its own in followFile, which the attach after it takes
// its notes from.
const (
	attachFile = "attach.json"
	followFile = "follow.json"
)

// attachState is what Attach and Follow keep of a server.
type attachState struct {
	Plan      Plan           `json:"plan"`
	Histories []wal.Timeline `json:"histories"`          // whose history files lay in pg_wal before the first start
	Notes     []string       `json:"notes,omitempty"`    // what was left out
	Quiet     bool           `json:"quiet,omitempty"`    // subscriptions were found that nobody had foreseen: none runs
	Attached  *Attached      `json:"attached,omitempty"` // once everything is done

	// Of Follow: what the server may have seen of WAL, no more, and the end of its last record there.
	Lineage   string       `json:"lineage,omitempty"`
	Fed       wal.LSN      `json:"fed,omitzero"`
	FedRecord wal.Position `json:"fedRecord,omitzero"`
}

func (a *attach) statePath() string {
	if a.stateFile == "" {
		a.stateFile = attachFile
	}
	return filepath.Join(a.Server.InstanceDir(), a.stateFile)
}

// loadState reads the state, or begins one: before the server runs for the first time, all history files in pg_wal are
// part of the restore, and later ones are its own.
func (a *attach) loadState() error {
	err := a.readState()
	if errors.Is(err, fs.ErrNotExist) {
		return a.beginState()
	}
	if err != nil {
		return err
	}
	if a.state.Plan != a.Plan {
		return fault.Newf(fault.Invalid, opAttach, "the folder was attached for %s on timeline %d before, not for %s on timeline %d",
			a.state.Plan.RecordEnd, a.state.Plan.Timeline, a.Plan.RecordEnd, a.Plan.Timeline).WithHint("Restore into another folder.")
	}
	return nil
}

func (a *attach) readState() error {
	b, err := os.ReadFile(a.statePath())
	if err != nil {
		return fault.New(fault.Transient, opAttach, err)
	}
	if err := json.Unmarshal(b, &a.state); err != nil {
		return fault.Newf(fault.Corrupt, opAttach, "%s: %w", a.statePath(), err)
	}
	return nil
}

func (a *attach) beginState() (err error) {
	followed := attach{AttachInput: a.AttachInput, stateFile: followFile}
	if err := followed.readState(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	a.state = attachState{Plan: a.Plan, Notes: followed.state.Notes}
	if a.state.Histories, err = a.listHistories(); err != nil {
		return err
	}
	if a.Plan.Timeline > 1 && !slices.Contains(a.state.Histories, a.Plan.Timeline) {
		return fault.Newf(fault.Missing, opAttach, "pg_wal has no history file of timeline %d", a.Plan.Timeline)
	}
	return a.saveState()
}

func (a *attach) saveState() error {
	b, err := json.MarshalIndent(a.state, "", "  ")
	if err != nil {
		return fault.New(fault.Invalid, opAttach, err)
	}
	return writeDurably(a.statePath(), b)
}

// writeDurably replaces a file in one step.
func writeDurably(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fault.New(fault.Transient, opAttach, err)
	}
	defer os.Remove(f.Name()) // does nothing after the rename
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return fault.New(fault.Transient, opAttach, err)
	}
	return nil
}

// lock keeps a second call out that would write into the same folder, also one of this process that was given up and still goes on:
// while one promotes, none may feed.
func (a *attach) lock(op string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(a.Server.InstanceDir(), "recovery.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.New(fault.Transient, op, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fault.Newf(fault.Transient, op, "another call works on the server in %s: %w", a.Server.InstanceDir(), err)
	}
	return func() { f.Close() }, nil
}

func (a *attach) walPath(name string) string { return filepath.Join(a.Server.DataDir, "pg_wal", name) }

func (a *attach) listHistories() ([]wal.Timeline, error) {
	entries, err := os.ReadDir(a.walPath(""))
	if err != nil {
		return nil, fault.New(fault.Missing, opAttach, err)
	}
	var found []wal.Timeline
	for _, e := range entries {
		key, ok := strings.CutSuffix(e.Name(), ".history")
		if t, err := wal.ParseTimelineKey(key); ok && err == nil {
			found = append(found, t)
		}
	}
	return found, nil
}

// removeStrayHistories removes history files that a promotion wrote which did not come to count.
func (a *attach) removeStrayHistories() error {
	found, err := a.listHistories()
	if err != nil {
		return err
	}
	for _, t := range found {
		if slices.Contains(a.state.Histories, t) {
			continue
		}
		a.Log.Info("an earlier promotion did not come to its end", "timeline", t)
		if err := os.Remove(a.walPath(wal.HistoryFileName(t))); err != nil {
			return fault.New(fault.Transient, opAttach, err)
		}
	}
	if err := syncFolder(a.walPath("")); err != nil {
		return fault.New(fault.Transient, opAttach, err)
	}
	return nil
}

func (a *attach) readHistory(t wal.Timeline) (wal.History, error) {
	b, err := os.ReadFile(a.walPath(wal.HistoryFileName(t)))
	if err != nil {
		return nil, fault.New(fault.Missing, opAttach, err)
	}
	h, err := wal.ParseHistory(b)
	if err != nil {
		return nil, fault.New(fault.Corrupt, opAttach, err)
	}
	return h, nil
}

// ensureConfigFile gives a cluster whose configuration lay elsewhere (as Debian's does) an empty one: the server
// does not start without.
func (a *attach) ensureConfigFile() error {
	path := filepath.Join(a.Server.DataDir, "postgresql.conf")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fault.New(fault.Transient, opAttach, err)
	}
	if err := errors.Join(f.Close(), a.Server.Own(path)); err != nil {
		return fault.New(fault.Transient, opAttach, err)
	}
	return nil
}
