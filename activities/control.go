package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// Control does what any region can do.
type Control struct {
	Site
	Temporal client.Client
}

// ReadGroup reads a group from the buckets that answer.
func (c *Control) ReadGroup(ctx context.Context, in ReadGroupInput) (topology.Group, error) {
	p := beat(ctx)
	defer p.end()
	loaded, err := c.Catalog.Load(ctx, in.Group)
	return loaded.Group, judge(ctx, err)
}

// RecordGroup creates a group. One that is there with the same ID is this one, recorded by an attempt whose answer
// was lost.
func (c *Control) RecordGroup(ctx context.Context, in RecordGroupInput) (topology.Group, error) {
	p := beat(ctx)
	defer p.end()
	for _, w := range in.Group.Workspaces {
		if w.Managed(in.Group.Active) {
			continue // it is reached by a socket that is not there yet
		}
		if _, err := dsn.Parse(w.Sites[in.Group.Active].Source); err != nil {
			return topology.Group{}, judge(ctx, err)
		}
	}
	g, err := c.Catalog.Create(ctx, in.Group)
	if fault.Is(err, fault.Conflict) {
		if there, loadErr := c.Catalog.Load(ctx, in.Group.Name); loadErr == nil && there.Group.ID == in.Group.ID {
			return there.Group, nil
		}
		err = fault.Newf(fault.Taken, "create group", "there is a group %q already", in.Group.Name).WithHint("choose another name")
	}
	return g, judge(ctx, err)
}

// ObserveStatus derives a group's status from the catalog and from what shippers announced. Since that is done regularly,
// it also brings a bucket that was away up to date with the group's document and epochs.
func (c *Control) ObserveStatus(ctx context.Context, in ReadGroupInput) (topology.GroupStatus, error) {
	p := beat(ctx)
	defer p.end()
	s, err := c.Catalog.Status(ctx, in.Group, time.Now())
	if err == nil {
		err = c.actFor(ctx, s.Group)
	}
	if err == nil && len(s.Silent) == 0 && s.Group.Secondary != "" {
		c.mirror(ctx, in.Group)
	}
	return s, judge(ctx, err)
}

// actFor refuses a group that another control plane acts for. One that names none becomes this one's, at the next look if not
// at this one.
func (c *Control) actFor(ctx context.Context, g topology.Group) error {
	err := c.Catalog.EnsureController(ctx, g)
	if err == nil || fault.Is(err, fault.Fenced) {
		return err
	}
	c.Log.WarnContext(ctx, "the group does not name who acts for it yet", "group", g.Name, "error", err)
	return nil
}

// mirror copies what decides over a group to the bucket that does not decide. The next look tries again what fails.
func (c *Control) mirror(ctx context.Context, group string) {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	if err := c.Catalog.Mirror(ctx, group); err != nil {
		c.Log.WarnContext(ctx, "the group's document and epochs are not in both buckets", "group", group, "error", err)
	}
}

// EnsureReplication starts the group's Replication, or wakes the one that runs.
func (c *Control) EnsureReplication(ctx context.Context, in EnsureReplicationInput) error {
	p := beat(ctx)
	defer p.end()
	if err := c.ensureController(ctx, in.Group); err != nil {
		return judge(ctx, err)
	}
	type epochChanged struct {
		Epoch topology.Epoch `json:"epoch"`
	}
	options := client.StartWorkflowOptions{
		ID: in.WorkflowID, TaskQueue: "smartdr",
		StaticSummary: "keeps group " + in.Group + " replicated",
		StaticDetails: "Runs for the life of the group. The query `status` and the update `refresh` say how it is.",
	}
	_, err := c.Temporal.SignalWithStartWorkflow(ctx, in.WorkflowID, in.Signal, epochChanged{in.Epoch}, options, in.WorkflowType, ReadGroupInput{Group: in.Group})
	return judge(ctx, err)
}

// ensureController names this worker's control plane in a group that names none, and refuses one that another acts for.
func (s *Site) ensureController(ctx context.Context, group string) error {
	l, err := s.Catalog.Load(ctx, group)
	if err != nil {
		return err
	}
	return s.Catalog.EnsureController(ctx, l.Group)
}

// controlEvery is how often a shipper looks whether another control plane has taken its group over: each look reads the
// group's document.
const controlEvery = 15 * time.Second

// turnOver returns what a shipper asks to know whether its time is over: whether a newer epoch was claimed, and now and then
// whether another control plane acts for the group. That nobody answers is no reason to stop.
func (s *Site) turnOver(group string, epoch topology.Epoch) func(context.Context) error {
	var looked time.Time
	return func(ctx context.Context) error {
		if err := s.Catalog.CheckEpoch(ctx, group, epoch); err != nil || time.Since(looked) < controlEvery {
			return err
		}
		looked = time.Now()
		l, err := s.Catalog.Load(ctx, group)
		if err != nil {
			return err
		}
		return catalog.Controls(&l.Group, s.Controller)
	}
}
