package activities

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

// leaveBranch stops a server that its branch is not attached as any more, and removes its folder, unless something of what was written to it may
// be nowhere else. Nothing is done on the word of a bucket that may be behind.
func (k *keeper) leaveBranch(ctx context.Context, l catalog.Loaded, dir string, o owner) error {
	if !slices.Contains(l.From, l.Group.Authority) || catalog.Controls(&l.Group, k.Controller) != nil {
		return nil
	}
	if err := stopInstance(ctx, dir); err != nil {
		return err
	}
	may, err := k.mayRemove(ctx, o)
	if err != nil {
		return err
	}
	if !may {
		return fault.Newf(fault.Invalid, "remove server of branch", "%s is kept: the group's document does not say that its branch is attached here, and what was written to it may not all be in the bucket", dir).
			WithHint("Remove the folder by hand if nobody needs that.")
	}
	return k.removeBranch(ctx, dir, o)
}

// mayRemove reports whether nothing is lost with the folder of a server that its branch is not attached as any more.
func (t *Target) mayRemove(ctx context.Context, o owner) (bool, error) {
	if o.Shipped || o.ReadOnly || !o.Published {
		return true, nil
	}
	p, err := t.Catalog.BranchProgress(ctx, o.Group, o.Branch, o.Attachment)
	if fault.Is(err, fault.Missing) {
		return false, nil
	}
	return p.Discarded, err
}

func (t *Target) removeBranch(ctx context.Context, dir string, o owner) error {
	if err := removeWithSocket(ctx, dir); err != nil {
		return err
	}
	t.Log.InfoContext(ctx, "removed the server of a branch that is detached", "branch", o.Branch, "instance", dir)
	for _, dir := range []string{filepath.Dir(dir), filepath.Dir(filepath.Dir(dir))} {
		_ = os.Remove(dir) // stays unless it is empty
	}
	t.tell(ctx)
	if o.ReadOnly {
		return nil
	}
	return t.Catalog.ForgetBranchProgress(ctx, o.Group, o.Branch, o.Attachment)
}

// checkBranch ends a server that is to be read only and that somebody has promoted: what it says from then on is no point of the branch.
func (k *keeper) checkBranch(ctx context.Context, g topology.Group, s *postgres.Server, dir string, o owner) error {
	if !o.ReadOnly {
		return k.keepAccess(ctx, g, s, dir, o)
	}
	_, err := os.Stat(filepath.Join(s.DataDir, postgres.StandbySignal))
	if !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, k.keepAccess(ctx, g, s, dir, o))
	}
	if err := stopAnyhow(ctx, s); err != nil {
		return err
	}
	return fault.Newf(fault.Invalid, "look at branch", "it is attached read-only, and somebody has promoted its server, which was stopped").
		WithHint("Detach it, and attach it read-write if it is to be written to.")
}
