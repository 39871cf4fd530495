package activities

import (
	"context"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// original is what a branch is made of.
type original struct {
	workspace string
	database  string           // empty: all of the workspace
	from      string           // the branch or system-managed database; empty: the workspace
	branch    *topology.Branch // from, when that is one
	lineage   string           // that its way ends in
	left      wal.Position     // where the way leaves that; zero when it goes on there
	pinned    bool             // the newest lineages of the way are what is asked for, also where the bucket lacks them
	settled   bool             // nothing can be written to it that is not in the bucket
	known     []string         // databases of the workspace, as far as was told lately
}

// original finds out what a branch is to be made of.
func (t *Target) original(ctx context.Context, g *topology.Group, in ResolveBranchInput) (original, error) {
	if b := g.Branch(in.Of); b != nil {
		return ofBranch(b, in)
	}
	if s := g.FindSystemManaged(in.Of); s != nil {
		return t.ofSystemManaged(ctx, g, s, in)
	}
	return t.ofWorkspace(ctx, g, in)
}

func ofBranch(b *topology.Branch, in ResolveBranchInput) (original, error) {
	if in.Region != b.Region {
		return original{}, fault.Newf(fault.Invalid, opResolve, "branch %s lies in the bucket of %q, not in that of %q", b.Name, b.Region, in.Region).
			WithHint("Leave the region out: a branch of a branch lies beside it.")
	}
	of := original{workspace: b.Workspace, database: b.Database, from: b.Name, branch: b, settled: b.Attached == nil || b.Attached.ReadOnly}
	of.lineage, of.left = b.Tip()
	return of, sameWorkspace(in, b.Workspace)
}

func (t *Target) ofSystemManaged(ctx context.Context, g *topology.Group, s *topology.SystemManaged, in ResolveBranchInput) (original, error) {
	tail, err := t.Catalog.Tail(ctx, g.Name, s.Workspace, s.Lineage)
	if err != nil && !fault.Is(err, fault.Missing) {
		return original{}, err
	}
	of := original{workspace: s.Workspace, database: s.Database, from: s.Name, lineage: s.Lineage, pinned: true, settled: tail.Complete, known: []string{s.Database}}
	return of, sameWorkspace(in, s.Workspace)
}

func sameWorkspace(in ResolveBranchInput, workspace string) error {
	if in.Workspace == "" || in.Workspace == workspace {
		return nil
	}
	return fault.Newf(fault.Invalid, opResolve, "%s is of workspace %q, not of %q", in.Of, workspace, in.Workspace).WithHint("Leave the workspace out.")
}

func (t *Target) ofWorkspace(ctx context.Context, g *topology.Group, in ResolveBranchInput) (original, error) {
	named, database := topology.SplitDatabase(in.Of)
	if named != "" && in.Workspace != "" && named != in.Workspace {
		return original{}, fault.Newf(fault.Invalid, opResolve, "%s is of another workspace than %q", in.Of, in.Workspace).WithHint("Leave one of the two out.")
	}
	if named == "" {
		named = in.Workspace
	}
	w, err := t.workspaceOf(ctx, g, named, database)
	if err != nil {
		return original{}, err
	}
	if w.Lineage == "" {
		return original{}, fault.Newf(fault.Invalid, opResolve, "workspace %s was never replicated: there is nothing to branch", w.Name).
			WithHint("`smartdr configure --group %s --secondary REGION` begins with it.", g.Name)
	}
	known, err := t.databasesOf(ctx, g.Name, w.Name)
	return original{workspace: w.Name, database: database, lineage: w.Lineage, known: known}, err
}

// workspaceOf returns the workspace of that name; without one the only one there is, or the only one that has the database.
func (t *Target) workspaceOf(ctx context.Context, g *topology.Group, name, database string) (*topology.Workspace, error) {
	if name == "" && len(g.Workspaces) == 1 {
		return &g.Workspaces[0], nil
	}
	if name != "" {
		if w := g.Workspace(name); w != nil {
			return w, nil
		}
		return nil, fault.Newf(fault.Missing, opResolve, "group %s has no workspace %q", g.Name, name).WithHint("There are %s.", strings.Join(g.WorkspaceNames(), ", "))
	}
	var having []*topology.Workspace
	for i := range g.Workspaces {
		known, err := t.databasesOf(ctx, g.Name, g.Workspaces[i].Name)
		if err != nil {
			return nil, err
		}
		if slices.Contains(known, database) {
			having = append(having, &g.Workspaces[i])
		}
	}
	switch {
	case len(having) == 1:
		return having[0], nil
	case len(having) > 1:
		return nil, fault.Newf(fault.Invalid, opResolve, "several workspaces of group %s have a database %q", g.Name, database).
			WithHint("Name one of them, as in %s/%s.", having[0].Name, database)
	case database != "":
		return nil, fault.Newf(fault.Missing, opResolve, "group %s has no database, no branch and no system-managed database %q", g.Name, database).
			WithHint("`smartdr databases --group %s` lists them.", g.Name)
	}
	return nil, fault.Newf(fault.Invalid, opResolve, "which workspace of group %s is not said", g.Name).
		WithHint("Name one: %s.", strings.Join(g.WorkspaceNames(), ", "))
}

// databasesOf are the databases of a workspace, by what was last told of its server and of its snapshots.
func (t *Target) databasesOf(ctx context.Context, group, workspace string) ([]string, error) {
	m, err := t.Catalog.Metadata(ctx, group, workspace)
	if err != nil && !fault.Is(err, fault.Missing) {
		return nil, err
	}
	s, err := t.Catalog.SnapshotProgress(ctx, group, workspace)
	if err != nil && !fault.Is(err, fault.Missing) {
		return nil, err
	}
	names := m.Databases
	for _, d := range s.Databases {
		names = append(names, d.Name)
	}
	return names, nil
}
