package api

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// SalvageRequest asks to bring home what a server that does not run any more wrote after its group had been taken over.
type SalvageRequest struct {
	Group     string
	Workspace string // may be left out when the group has one
	Lineage   string // default: the newest of the workspace that was left and is not complete
	Dir       string // its pg_wal folder, or its data directory, on this machine
}

// Salvage reads the folder and ships what it holds to both buckets. It needs no Temporal. The folder is only read. Errors: fault.Invalid
// for a request that names nothing, fault.Conflict while the folder's server runs, fault.Diverged when it is another server's.
func (s *Service) Salvage(ctx context.Context, req SalvageRequest) (topology.Tail, error) {
	c, err := s.openCatalog(ctx)
	if err != nil {
		return topology.Tail{}, err
	}
	loaded, err := c.Load(ctx, req.Group)
	if err != nil {
		return topology.Tail{}, err
	}
	if req.Dir, err = filepath.Abs(req.Dir); err != nil {
		return topology.Tail{}, fault.New(fault.Invalid, "salvage", err)
	}
	if err := req.choose(ctx, c, &loaded.Group); err != nil {
		return topology.Tail{}, err
	}
	site := activities.Site{Stores: c.Stores, Catalog: c, Log: s.opts.Log}
	return activities.Salvage(ctx, site, activities.TailInput{Group: req.Group, Workspace: req.Workspace, Lineage: req.Lineage, Files: req.Dir})
}

// choose fills in the workspace and the lineage where there is one choice.
func (req *SalvageRequest) choose(ctx context.Context, c *catalog.Catalog, g *topology.Group) error {
	if req.Workspace == "" && len(g.Workspaces) == 1 {
		req.Workspace = g.Workspaces[0].Name
	}
	if g.Workspace(req.Workspace) == nil {
		return fault.Newf(fault.Invalid, "salvage", "group %s has no workspace %q", g.Name, req.Workspace).WithHint("Name one with --workspace.")
	}
	if req.Lineage != "" {
		return nil
	}
	tails, err := c.Tails(ctx, g, req.Workspace)
	if err != nil {
		return err
	}
	for _, t := range tails {
		if !t.Complete {
			req.Lineage = t.Lineage
			return nil
		}
	}
	return fault.Newf(fault.Invalid, "salvage", "nothing is missing of workspace %s: %s", req.Workspace, leftSoFar(tails)).
		WithHint("To read a folder all the same, name the lineage with --lineage.")
}

func leftSoFar(tails []topology.Tail) string {
	if len(tails) == 0 {
		return "no side of it was ever left"
	}
	return fmt.Sprintf("the tail of lineage %s is complete", tails[0].Lineage)
}
