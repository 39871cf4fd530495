package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// retire ends the servers that served before, once the others do: managed ones are stopped and kept for the way back, or, after
// a failback, removed with their files. Adopted ones stay fenced: whoever runs them decides.
func (s *switchover) retire(ctx workflow.Context) error {
	open := workflow.NewWaitGroup(ctx)
	errs := make([]error, len(s.op.Workspaces))
	for i, r := range s.op.Workspaces {
		w := s.group.Workspace(r.Workspace)
		if w == nil {
			continue
		}
		site, there := w.Sites[s.op.From]
		if !there {
			continue
		}
		if site.Kind != topology.Managed {
			s.note(i, fmt.Sprintf("the adopted server at %s stays fenced: it takes no clients until whoever runs it decides what becomes of it", addresses(site.Endpoint)))
			continue
		}
		open.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer open.Done()
			errs[i] = s.retireServer(ctx, i, *w, site)
		})
	}
	open.Wait(ctx)
	return nil
}

// retireServer ends one server. That it cannot be ended is said in the account, and no reason to call the operation failed: it is
// fenced, and the other one serves.
func (s *switchover) retireServer(ctx workflow.Context, i int, w topology.Workspace, site topology.Site) error {
	in := activities.RetireInput{Group: s.op.Group, Workspace: w.Name, Region: s.op.From, Epoch: servedUnder(w, s.op.From), Instance: site.Instance}
	name, do := "Retire", any(target.RetireServer)
	if s.home {
		name, do = "Remove", target.RemoveRetired
	}
	err := s.phase(ctx, name, w.Name, func(p *topology.Phase) error {
		var r activities.PhaseResult
		err := workflow.ExecuteActivity(retiring(ctx, siteQueue(s.op.From, site.Host), "end the server of "+w.Name+" in "+s.op.From), do, in).Get(ctx, &r)
		p.Note = r.Note
		return err
	})
	if err != nil {
		why := FailureOf(err)
		text := fmt.Sprintf("the server that served before, in %s of host %s, is fenced and was not taken down: %s", site.Instance, site.Host, why.Message)
		if why.Hint != "" {
			text += "; " + why.Hint
		}
		s.note(i, text)
	}
	return err
}

// servedUnder is the epoch under which a workspace was last served from a region.
func servedUnder(w topology.Workspace, region string) (newest topology.Epoch) {
	for _, l := range w.Lineages {
		if l.Region == region {
			newest = max(newest, l.Epoch)
		}
	}
	return newest
}

func (s *switchover) note(i int, text string) {
	if w := &s.op.Workspaces[i]; !slices.Contains(w.Notes, text) {
		w.Notes = append(w.Notes, text)
	}
}

func addresses(e topology.Endpoint) (text string) {
	for i, h := range e.Hosts {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s:%d", h.Host, h.Port)
	}
	return text
}
