package activities

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
)

// CheckHost refuses a workspace that this host cannot run, before anything is changed. Its notes say what will differ.
func (t *Target) CheckHost(ctx context.Context, in CheckHostInput) (PhaseResult, error) {
	p := beat(ctx)
	defer p.end()
	notes, err := t.ready(ctx, in.Group, in.Plan)
	return PhaseResult{Notes: notes}, judge(ctx, err)
}

// ready checks that this host can run the workspace: programs of its version, extensions, libraries, disk space.
func (t *Target) ready(ctx context.Context, group string, w WorkspacePlan) (notes []string, err error) {
	bin, err := postgres.Find(w.ServerVersion/10000, t.BinDirs)
	if err != nil {
		return nil, err
	}
	m, err := t.metadata(ctx, group, w.Workspace)
	if fault.Is(err, fault.Missing) {
		return []string{"settings and extensions of the primary were never captured: not compared"}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := makeDataDir(t.DataDir); err != nil {
		return nil, err
	}
	host, err := metadata.Inspect(ctx, bin, t.DataDir)
	if err != nil {
		return nil, err
	}
	if host.FreeBytes > 0 {
		host.FreeBytes += t.reclaimable(ctx, group, w.Workspace)
	}
	return problems(w, metadata.Compare(m, host, w.Bytes))
}

func problems(w WorkspacePlan, all []metadata.Problem) (notes []string, err error) {
	var blocking, todo []string
	for _, p := range all {
		if p.Blocking {
			blocking, todo = append(blocking, p.Text), append(todo, p.Todo)
			continue
		}
		notes = append(notes, p.String())
	}
	if len(blocking) > 0 {
		return nil, fault.Newf(fault.Invalid, "plan failover", "workspace %s cannot run on this host: %s", w.Workspace, strings.Join(blocking, "; ")).
			WithHint("%s", strings.Join(todo, "; "))
	}
	return notes, nil
}

func (t *Target) metadata(ctx context.Context, group, workspace string) (m metadata.Metadata, err error) {
	document, err := t.Catalog.Metadata(ctx, group, workspace)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(document.Server, &m); err != nil {
		return m, fault.New(fault.Corrupt, "read metadata", err)
	}
	return m, nil
}
