package cli

import (
	"context"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/topology"
)

// RestoreReport is what `smartdr restore --in-place -o json` prints.
type RestoreReport struct {
	Preview   api.InPlacePreview  `json:"preview"`
	Started   *api.Started        `json:"started,omitempty"`
	Operation *topology.Operation `json:"operation,omitempty"` // with --wait
}

// restoreInPlace asks, and puts the earlier state in the place of what serves.
func (a *app) restoreInPlace(ctx context.Context, s *api.Service, in restoreFlags) error {
	p, err := s.PreviewInPlace(ctx, in.RestoreRequest)
	if err != nil {
		return err
	}
	if in.preview {
		return a.show(p, func(st render.Style) string { return render.InPlace(p, st) })
	}
	if !in.yes {
		if err := a.consents("restore in place", render.InPlace(p, render.Style{}), "workspace", p.Workspace); err != nil {
			return err
		}
	}
	started, err := s.StartInPlace(ctx, in.RestoreRequest)
	if err != nil {
		return err
	}
	a.advise("Restore %s has begun", started.Operation)
	report := RestoreReport{Preview: p, Started: &started}
	if !in.wait {
		return a.show(report, func(render.Style) string { return started.Operation + "\n" })
	}
	op, err := a.awaitOperation(ctx, s, started, func(op *topology.Operation) any { report.Operation = op; return report })
	if err == nil {
		a.adviseConnect(op)
	}
	return err
}
