package api

import (
	"context"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

const opRecover = "recover"

// RecoverRequest asks to take groups over into this control plane, from what one region's bucket holds.
type RecoverRequest struct {
	Region string   `json:"region"`
	Groups []string `json:"groups,omitempty"` // default: all in that bucket
	Force  bool     `json:"force,omitempty"`  // although another bucket decides, which cannot be asked
	By     string   `json:"by,omitempty"`     // for people
}

// Recoverable is a group as a region's bucket knows it, and what taking it over would mean.
type Recoverable struct {
	Group topology.Group `json:"group"`
	// Preview is of the failover to the region; nil when the region serves the group already, or nothing is replicated there.
	Preview *FailoverPreview `json:"preview,omitempty"`
	Resume  bool             `json:"resume,omitempty"`  // the region's last failover has not brought up everything: it is gone on with
	Refused string           `json:"refused,omitempty"` // why the group cannot be taken over without force
	Hint    string           `json:"hint,omitempty"`
	Silent  string           `json:"silent,omitempty"` // why the bucket that decides cannot be asked
}

// PreviewRecover lists what Recover would take over. It needs no Temporal and changes nothing.
func (s *Service) PreviewRecover(ctx context.Context, req RecoverRequest) ([]Recoverable, error) {
	if err := s.knownRegion(req.Region); err != nil {
		return nil, err
	}
	names, err := s.recoverableNames(ctx, req)
	if err != nil {
		return nil, err
	}
	all := []Recoverable{}
	for _, name := range names {
		r, err := s.previewRecover(ctx, req, name)
		if err != nil {
			return nil, err
		}
		if r != nil {
			all = append(all, *r)
		}
	}
	if len(all) == 0 {
		return nil, fault.Newf(fault.Missing, opRecover, "the bucket of region %s knows no workspace group", req.Region).
			WithHint("Check --bucket and --prefix: what SmartDR writes begins with smartdr/v1/ after the prefix.")
	}
	return all, nil
}

func (s *Service) recoverableNames(ctx context.Context, req RecoverRequest) ([]string, error) {
	c, err := s.openCatalog(ctx)
	if err != nil || len(req.Groups) > 0 {
		return req.Groups, err
	}
	names, silent, err := c.Groups(ctx)
	if err == nil && silent[req.Region] != "" {
		err = fault.Newf(fault.Transient, opRecover, "the bucket of region %s does not answer: %s", req.Region, silent[req.Region])
	}
	return names, err
}

// previewRecover returns nil for a group that is over or none of the region's.
func (s *Service) previewRecover(ctx context.Context, req RecoverRequest, name string) (*Recoverable, error) {
	st, err := s.catalog.Status(ctx, name, s.opts.Now())
	if err != nil {
		return nil, err
	}
	g := st.Group
	if g.State == topology.GroupTerminated || req.Region != g.Primary && req.Region != g.Secondary {
		return nil, nil
	}
	r := &Recoverable{Group: g}
	if why := st.Silent[g.Authority]; why != "" {
		r.Silent = why
		if g.Authority == req.Region {
			return nil, fault.Newf(fault.Transient, opRecover, "the bucket of region %s cannot be read: %s", req.Region, why)
		}
		if !req.Force {
			r.Refused = "the bucket of region " + g.Authority + " decides over group " + name + ", not that of " + req.Region + ", and cannot be asked: " + why
			r.Hint = "Bring the bucket of region " + g.Authority + " back, or recover there. With --force the bucket of " + req.Region +
				" decides by what it holds: what was decided or stored only in " + g.Authority + " is given up, nothing promises that nobody serves there, and when the two meet again neither is merged into the other."
		}
	}
	switch {
	case g.Replication == nil:
	case g.Active == req.Region:
		r.Resume = cameBack(g) != nil
	default:
		p := preview(st, req.Region, s.opts.Now())
		s.placePreview(ctx, st, &p)
		r.Preview = &p
	}
	return r, nil
}

// Recover makes this control plane the only one that acts for a group, and starts its Replication.
func (s *Service) Recover(ctx context.Context, req RecoverRequest, group string) (topology.Group, error) {
	in := workflows.RecoverInput{Group: group, Region: req.Region, Force: req.Force, By: req.By}
	var out workflows.GroupResult
	err := s.perform(ctx, workflows.RecoverID(group), workflows.RecoverType, "take over "+group+" in "+req.Region, in, &out)
	return out.Group, err
}

// AwaitWorker waits until Temporal answers and a worker of a region polls.
func (s *Service) AwaitWorker(ctx context.Context, region string, waiting func(why error)) error {
	queues := []string{workflows.TaskQueue, workflows.RegionQueue(region)}
	for said := ""; ; {
		err := s.polled(ctx, queues)
		if err == nil || ClassOf(err) != Unreachable {
			return err
		}
		if said != err.Error() {
			said = err.Error()
			waiting(err)
		}
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
			return err
		}
	}
}

func (s *Service) polled(ctx context.Context, queues []string) error {
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	var silent []string
	for _, q := range queues {
		n, err := s.workers(ctx, c, q, enumspb.TASK_QUEUE_TYPE_ACTIVITY)
		if err != nil {
			return As(Unreachable, fault.New(fault.Transient, "ask Temporal for workers", err))
		}
		if n == 0 {
			silent = append(silent, q)
		}
	}
	slices.Sort(silent)
	if len(silent) == 0 {
		return nil
	}
	return As(Unreachable, fault.Newf(fault.Transient, "ask Temporal for workers", "no worker polls task queue %s", strings.Join(silent, " and ")))
}
