package activities

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/fence"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

// restingFiles returns the folder to read when there is no server to ask: the one that was given, or that of a server of this host
// that does not run; "" when there is a server to ask.
func (s *Source) restingFiles(ctx context.Context, left leftServer, given string) (string, error) {
	if given != "" {
		return filepath.Clean(given), nil
	}
	if left.site.Kind != topology.Managed {
		return "", nil
	}
	dir, err := s.folderOf(left)
	if err != nil {
		return "", err
	}
	return s.resting(ctx, left, dir)
}

// folderOf returns the folder of the server that wrote a lineage on this host.
func (s *Source) folderOf(left leftServer) (string, error) {
	if left.site.Instance != "" {
		return left.site.Instance, nil
	}
	files, err := filepath.Glob(filepath.Join(s.DataDir, left.group.Name, left.Workspace, "*", ownerFile))
	if err != nil {
		return "", err
	}
	for _, f := range files {
		var o owner
		if _, err := readState(filepath.Dir(f), ownerFile, &o); err != nil {
			return "", err
		}
		if o.Epoch == left.Lineage.Epoch && o.Published && o.Branch == "" {
			return filepath.Dir(f), nil
		}
	}
	return "", fault.Newf(fault.Missing, "find server", "this host has no server of workspace %s that wrote under epoch %d", left.Workspace, left.Lineage.Epoch).
		WithHint("If its disk is elsewhere, %s.", salvageHint(left))
}

// resting returns the data directory of a server that does not run. It is fenced on its disk first, so that whoever starts it
// starts it fenced: nothing is written that this reading has not seen.
func (s *Source) resting(ctx context.Context, left leftServer, dir string) (string, error) {
	server, err := postgres.Load(dir)
	if err != nil {
		return "", err
	}
	if _, running := server.Running(ctx); running {
		return "", nil
	}
	by := fmt.Sprintf("epoch-%d", left.group.Epoch)
	if err := fence.OnDisk(ctx, server, fence.Options{Lineage: left.Lineage, By: by, ForGood: true}); err != nil {
		return "", err
	}
	if _, running := server.Running(ctx); running {
		return "", nil // it was started meanwhile
	}
	return server.DataDir, nil
}

// salvageHint says how a disk is read whose place nobody knows.
func salvageHint(left leftServer) string {
	return fmt.Sprintf("give its pg_wal folder on the host that has it: smartdr salvage --group %s --workspace %s --lineage %s --pg-wal DIR",
		left.group.Name, left.Workspace, left.Lineage.ID)
}
