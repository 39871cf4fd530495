package api

import (
	"context"
	"fmt"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// InPlacePreview says what a restore in place would do.
type InPlacePreview struct {
	Group     string                 `json:"group"`
	Workspace string                 `json:"workspace"`
	Region    string                 `json:"region"`
	To        topology.Target        `json:"to"`
	Point     topology.RecoveryPoint `json:"point"` // the last that is there afterwards
	Host      string                 `json:"host"`  // that the new server is to run on
	Serving   topology.Site          `json:"serving"`
	Steps     []string               `json:"steps"`           // what happens, in order, in sentences
	Notes     []string               `json:"notes,omitempty"` // what is not as it was afterwards
}

// PreviewInPlace says what would happen, and refuses what cannot be done as things stand. It changes nothing.
func (s *Service) PreviewInPlace(ctx context.Context, req RestoreRequest) (InPlacePreview, error) {
	g, err := s.Group(ctx, req.Group)
	if err != nil {
		return InPlacePreview{}, err
	}
	w, err := restored(g, req.Workspace)
	if err == nil {
		err = firstOf(
			func() error { return req.checkInPlace(g) },
			func() error { return s.notHeld(ctx, g) },
		)
	}
	if err != nil {
		return InPlacePreview{}, about(opRestore, err)
	}
	c, err := s.openCatalog(ctx)
	if err != nil {
		return InPlacePreview{}, err
	}
	t := &activities.Target{Site: activities.Site{Stores: c.Stores, Catalog: c, Log: s.opts.Log}}
	found, err := activities.PreviewInPlace(ctx, t, activities.PlanInPlaceInput{Group: g.Name, Workspace: w.Name, At: req.To})
	if err != nil {
		return InPlacePreview{}, err
	}
	p := InPlacePreview{Group: g.Name, Workspace: w.Name, Region: g.Active, To: req.To, Point: found.Plan.Point, Host: found.Plan.Host, Serving: found.Serving, Notes: found.Notes}
	p.Steps = p.steps()
	return p, nil
}

func (req RestoreRequest) checkInPlace(g topology.Group) error {
	switch {
	case req.Branch != "":
		return fault.Newf(fault.Invalid, opRestore, "in place the state becomes no branch: what there was before does, by a name of its own").WithHint("Leave --branch out.")
	case req.Region != "" && req.Region != g.Active:
		return fault.Newf(fault.Invalid, opRestore, "in place means in %q, which serves group %s", g.Active, g.Name).WithHint("Leave --region out, or --in-place.")
	case req.ReadOnly:
		return fault.Newf(fault.Invalid, opRestore, "what serves takes writes").WithHint("Leave --read-only out, or --in-place.")
	}
	if _, err := workflows.ParseGap(opRestore, req.MaxGap); err != nil {
		return err
	}
	return someTarget(req.To)
}

func (p InPlacePreview) steps() []string {
	steps := []string{
		fmt.Sprintf("While workspace %s serves, its state at the point is brought up beside it, on host %s.", p.Workspace, p.Host),
		"Its clients are disconnected and its server is fenced: nobody writes to it for a moment, until what was written last is in the bucket. If it takes longer than --max-gap, everything goes back to where it is now.",
		"The restored server takes over. What was committed after the point is kept as a branch, named before-restore- with the moment, from which rows can be copied back.",
	}
	if p.Serving.Kind == topology.Adopted {
		steps = append(steps, "The adopted server stays as it is, fenced: SmartDR does not stop it.")
	} else {
		steps = append(steps, "The server that was replaced is stopped; its files stay.")
	}
	return append(steps, "Clients need the new address: smartdr connect. The group's other workspaces are not touched.")
}

// StartInPlace starts a restore in place, and does not wait for it.
func (s *Service) StartInPlace(ctx context.Context, req RestoreRequest) (Started, error) {
	g, err := s.Group(ctx, req.Group)
	if err != nil {
		return Started{}, err
	}
	w, err := restored(g, req.Workspace)
	if err == nil {
		err = req.checkInPlace(g)
	}
	if err != nil {
		return Started{}, err
	}
	in := workflows.RestoreInput{Group: g.Name, Workspace: w.Name, At: req.To, InPlace: true, MaxGap: req.MaxGap}
	run, err := s.start(ctx, workflows.RestoreID(g.Name), workflows.RestoreType, fmt.Sprintf("restore of %s of %s in place", w.Name, g.Name), in)
	if err != nil {
		return Started{}, err
	}
	return Started{Group: g.Name, Operation: run.GetRunID(), Workflow: run.GetID(), Run: run.GetRunID()}, nil
}
