package activities

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// RemoveRetired takes away a server that served before a failback, once every byte of what it wrote is in both buckets: what
// clients wrote is in the newer lineage anyway, and the rest is its tail. Then the region has no compute of the workspace. What takes
// longer than somebody waits for it is removed by the host itself.
func (t *Target) RemoveRetired(ctx context.Context, in RetireInput) (PhaseResult, error) {
	p := beat(ctx)
	defer p.end()
	err := t.removeRetired(ctx, in, tailWithin)
	return PhaseResult{Note: "removed from " + t.Host}, judge(ctx, describe(err, "the server of workspace %s in %s", in.Workspace, in.Region))
}

func (t *Target) removeRetired(ctx context.Context, in RetireInput, tail time.Duration) error {
	o, err := t.retiring(ctx, in)
	if fault.Is(err, fault.Missing) { // removed by an attempt that was cut short
		return t.leaveRegion(ctx, in)
	}
	if err != nil {
		return err
	}
	if !o.Leaves {
		o.Leaves = true
		if err := writeState(in.Instance, ownerFile, o); err != nil {
			return err
		}
	}
	if !t.awaitTail(ctx, in, tail) {
		if err := stopInstance(ctx, in.Instance); err != nil { // what a server that is down wrote has an end, whatever its fence is worth
			return err
		}
		return fault.Newf(fault.Transient, "remove server", "the last of its WAL is not in both buckets yet").WithHint("its host removes it once it is")
	}
	if err := t.leaveWithOlder(ctx, in); err != nil {
		return err
	}
	if err := removeWithSocket(ctx, in.Instance); err != nil {
		return err
	}
	t.tell(ctx)
	return t.leaveRegion(ctx, in)
}

// leaveWithOlder lets the servers that earlier switchovers have retired on this host leave with the one that served last: there is
// no way back that would use their files. One whose tail is not in both buckets yet is removed later.
func (t *Target) leaveWithOlder(ctx context.Context, in RetireInput) error {
	files, err := ownerFiles(t.DataDir, in.Group, in.Workspace)
	if err != nil {
		return err
	}
	for _, f := range files {
		older := in
		older.Instance = filepath.Dir(f)
		var o owner
		if found, err := readState(older.Instance, ownerFile, &o); err != nil || !found || !o.Retired || o.Leaves || o.Epoch > in.Epoch || older.Instance == in.Instance {
			continue
		}
		older.Epoch = o.Epoch
		if err := t.removeRetired(ctx, older, 0); err != nil && !fault.Is(err, fault.Transient) {
			return err
		}
	}
	return nil
}

// leaveRegion takes a server out of the group's document.
func (t *Target) leaveRegion(ctx context.Context, in RetireInput) error {
	_, err := t.Catalog.Update(ctx, in.Group, func(g *topology.Group) error {
		w := g.Workspace(in.Workspace)
		if w == nil || g.Active == in.Region {
			return fault.Newf(fault.Invalid, "remove server", "region %s serves", in.Region)
		}
		if site := w.Sites[in.Region]; site.Instance == in.Instance && (site.Host == "" || site.Host == t.Host) {
			delete(w.Sites, in.Region)
		}
		return nil
	})
	return err
}

// sweepRetired removes the servers of this host that a failback has left to it: those whose folder says so, as soon as all that
// they wrote is in both buckets. Nothing is removed while an operation holds the group, or the bucket that decides is silent.
func (t *Target) sweepRetired(ctx context.Context) {
	if t.DataDir == "" {
		return
	}
	files, err := ownerFiles(t.DataDir, "*", "*")
	if err != nil {
		t.Log.WarnContext(ctx, "servers that leave were not looked for", "error", err)
	}
	for _, f := range files {
		dir := filepath.Dir(f)
		var o owner
		if found, err := readState(dir, ownerFile, &o); err != nil || !found || !o.Leaves {
			continue
		}
		workspace := filepath.Dir(dir) // by where it lies, which the folder's own word must agree with
		err := t.leave(ctx, RetireInput{Group: filepath.Base(filepath.Dir(workspace)), Workspace: filepath.Base(workspace), Region: t.Region, Epoch: o.Epoch, Instance: dir})
		if err == nil {
			t.Log.InfoContext(ctx, "removed a server that served before a failback", "instance", dir)
		} else if !fault.Is(err, fault.Transient) {
			t.Log.WarnContext(ctx, "a server that is to leave stays", "instance", dir, "error", err)
		}
	}
}

func (t *Target) leave(ctx context.Context, in RetireInput) error {
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return err
	}
	if g := loaded.Group; g.Operation != nil || !slices.Contains(loaded.From, g.Authority) {
		return fault.Newf(fault.Transient, "remove server", "group %s is held, or the bucket that decides over it does not answer", g.Name)
	}
	return t.removeRetired(ctx, in, 0)
}
