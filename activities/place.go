package activities

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// An instance's folder, <data folder of the region>/<group>/<workspace>/e<epoch>, or s-<id> of one that began as a standby, or
// b-<id> of a branch's attachment, holds one restored server:
//
//	owner.json      the operation and the plan it is restored by; says that the folder is ours
//	data/           the data directory
//	tablespaces/    beside it
//	restored.json   what RestoreSnapshot brought, when it has
//	wal.json        what FetchWAL found, when it is complete
//	attached.json   the promoted server, when it is
//
// A new epoch has a new folder, so that no restore ever meets the files of another one.
const (
	ownerFile    = "owner.json"
	restoredFile = "restored.json"
	walFile      = "wal.json"
	attachedFile = "attached.json"
)

// owner is the content of owner.json.
type owner struct {
	Group     string         `json:"group"`
	Workspace string         `json:"workspace"`
	Epoch     topology.Epoch `json:"epoch"`
	Operation string         `json:"operation"`
	Plan      WorkspacePlan  `json:"plan"`
	Size      topology.Size  `json:"size,omitzero"`       // what it takes of the host; zero: the plan's
	Port      int            `json:"port,omitempty"`      // 0 until ProvisionTopology has chosen one
	Published bool           `json:"published,omitempty"` // it has served: never remove it
	Standby   string         `json:"standby,omitempty"`   // id of the standby that it is, or began as
	Retired   bool           `json:"retired,omitempty"`   // it has served, and another one does since: its files are kept for the way back
	Leaves    bool           `json:"leaves,omitempty"`    // it has served, and is removed once all that it wrote is in both buckets

	Branch     string `json:"branch,omitempty"`     // whose server it is
	Attachment string `json:"attachment,omitempty"` // of the branch
	ReadOnly   bool   `json:"readOnly,omitempty"`   // it stays a standby
	Shipped    bool   `json:"shipped,omitempty"`    // it was detached: all that was written to it is in the bucket
	Unwritten  bool   `json:"unwritten,omitempty"`  // nobody had written to it then
}

func (o owner) size() topology.Size {
	if o.Size.IsZero() {
		return o.Plan.Need.Size
	}
	return o.Size
}

func makeDataDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.New(diskKind(err), "make data folder", err).WithHint("Make it, or leave worker.dataDir out where no server is to run.")
	}
	return nil
}

func instanceDir(root, group, workspace string, epoch topology.Epoch) string {
	return filepath.Join(root, group, workspace, fmt.Sprintf("e%d", epoch))
}

// standbyDir is the folder of a standby, and of the server that it becomes.
func standbyDir(root, group, workspace, id string) string {
	return filepath.Join(root, group, workspace, "s-"+id)
}

// branchDir is the folder of a branch's server. It is found by branchFiles alone, and not by ownerFiles: nothing that an operation of the group
// does to the workspace's servers touches it.
func branchDir(root, group, workspace, attachment string) string {
	return filepath.Join(root, group, workspace, branchPrefix+attachment)
}

const branchPrefix = "b-"

// branchFiles returns what says whose the servers of branches are that lie below a data folder.
func branchFiles(root string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(root, "*", "*", branchPrefix+"*", ownerFile))
	if err != nil {
		return nil, fault.New(fault.Invalid, "look for branches", err)
	}
	return files, nil
}

// dir is the folder of what is restored.
func (t *Target) dir(in RestoreInput) string {
	if in.Branch != "" {
		return branchDir(t.DataDir, in.Group, in.Plan.Workspace, in.Attachment)
	}
	if in.Standby != "" {
		return standbyDir(t.DataDir, in.Group, in.Plan.Workspace, in.Standby)
	}
	return instanceDir(t.DataDir, in.Group, in.Plan.Workspace, in.Epoch)
}

// ownerFiles returns what says whose the instances of workspaces are that lie below a data folder; group and workspace may be "*".
func ownerFiles(root, group, workspace string) (files []string, err error) {
	for _, kind := range []string{"e*", "s-*"} {
		some, err := filepath.Glob(filepath.Join(root, group, workspace, kind, ownerFile))
		if err != nil {
			return nil, fault.New(fault.Invalid, "look for instances", err)
		}
		files = append(files, some...)
	}
	return files, nil
}

// readState reads one of an instance's state files. It returns false when there is none.
func readState(dir, name string, into any) (bool, error) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fault.New(fault.Transient, "read state of instance", err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return false, fault.Newf(fault.Corrupt, "read state of instance", "%s: %w", filepath.Join(dir, name), err)
	}
	return true, nil
}

// writeState replaces one of an instance's state files, whole or not at all.
func writeState(dir, name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		err = replaceFile(filepath.Join(dir, name), b)
	}
	if err != nil {
		return fault.New(diskKind(err), "write state of instance", err)
	}
	return nil
}

func replaceFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when all went well
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// slotName is the name of our slot on a workspace's server: lower-case letters, digits and underscores, at most 63.
// Names that have to be changed for that get a part of their hash, so that no two workspaces share a slot.
func slotName(group, workspace string) string {
	name := "smartdr_" + group + "_" + workspace
	if len(name) <= 63 && !strings.Contains(name, "-") {
		return name
	}
	hash := sha256.Sum256([]byte(name))
	name = strings.ReplaceAll(name, "-", "_")
	return fmt.Sprintf("%s_%x", name[:min(len(name), 54)], hash[:4])
}

// diskKind tells a full disk from what may pass by itself.
func diskKind(err error) fault.Kind {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.Full
	}
	return fault.Transient
}
