package catalog

import (
	"context"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// Takeover is how a control plane takes a group over.
type Takeover struct {
	Controller string // its ID
	By         string // for people
	// Region is where it works: the one whose bucket must decide, or be made to.
	Region string
	// Force makes Region's bucket the one that decides although another one does and cannot be asked.
	Force bool
}

const (
	// seizedRevisions is by how much the revision jumps when a bucket is made to decide without the word of the one before: its
	// document is the newer one then, however much the other one has changed.
	seizedRevisions = 1_000_000
	// seizedEpochs is by how much the epochs jump: the other side may have claimed some that are not known here, and no two
	// sides may ever write under one.
	seizedEpochs = 16
)

// Controls returns fault.Fenced if a control plane other than id acts for the group. A group that names none, and an empty
// id, are anybody's.
func Controls(g *topology.Group, id string) error {
	if id == "" || g.Controller == nil || g.Controller.ID == "" || g.Controller.ID == id {
		return nil
	}
	by := ""
	if g.Controller.By != "" {
		by = ", by " + g.Controller.By
	}
	return fault.Newf(fault.Fenced, "act for group "+g.Name, "another control plane acts for it since %s%s", g.Controller.Since.UTC().Format(time.RFC3339), by).
		WithHint("This one lets it be. Give orders there, or take the group over: smartdr recover --region REGION --group %s", g.Name)
}

// EnsureController names this catalog's control plane the group's if none is named yet.
func (c *Catalog) EnsureController(ctx context.Context, g topology.Group) error {
	if c.Controller == "" || g.Controller != nil && g.Controller.ID != "" {
		return Controls(&g, c.Controller)
	}
	_, err := c.Update(ctx, g.Name, func(g *topology.Group) error {
		if g.Controller == nil || g.Controller.ID == "" {
			g.Controller = &topology.Controller{ID: c.Controller, Since: c.now().UTC(), By: "the first one that acted for it"}
		}
		return Controls(g, c.Controller)
	})
	return err
}

// TakeControl makes a control plane the only one that acts for a group, in the bucket that decides: from then on every
// change that another one tries there is fault.Fenced. It is idempotent by the controller's ID. Errors: fault.Taken while
// an operation runs that still gives signs of life; fault.Transient or fault.Invalid, with the region's name, when the
// bucket that decides cannot be asked and Force is not set.
//
// With Force Region's bucket decides from then on, by what it holds. What the other one may have decided meanwhile is lost
// to it: revisions and epochs jump, so that the two can never be taken for one, and when both are seen and the other has
// gone on, every use of the group is fault.Diverged until a person has chosen.
func (c *Catalog) TakeControl(ctx context.Context, group string, t Takeover) (Updated, error) {
	op := "take control of group " + group
	if t.Controller == "" {
		return Updated{}, fault.Newf(fault.Invalid, op, "no control plane is named")
	}
	return c.retry(ctx, group, func(s survey) (Updated, error) {
		current, err := c.atAuthority(ctx, s)
		if silent(err) {
			return c.seize(ctx, s, t, err)
		}
		if err != nil {
			return Updated{}, err
		}
		return c.takeControl(ctx, current, t)
	})
}

// silent reports whether the bucket that decides could not be asked.
func silent(err error) bool {
	if _, isLost := err.(*lost); isLost {
		return false
	}
	return fault.Is(err, fault.Transient) || fault.Is(err, fault.Invalid)
}

func (c *Catalog) takeControl(ctx context.Context, current document, t Takeover) (Updated, error) {
	if g := current.group; g.Controller != nil && g.Controller.ID == t.Controller {
		return c.mirrored(ctx, current), nil
	}
	if err := c.notRunning(ctx, &current.group); err != nil {
		return Updated{}, err
	}
	next, _, err := apply(current, c.handOver(t))
	if err != nil {
		return Updated{}, err
	}
	if current, err = c.swap(ctx, current, next); err != nil {
		return Updated{}, err
	}
	return c.mirrored(ctx, current), nil
}

func (c *Catalog) handOver(t Takeover) func(*topology.Group) error {
	return func(g *topology.Group) error {
		g.Controller = &topology.Controller{ID: t.Controller, Since: c.now().UTC(), By: t.By}
		return nil
	}
}

// notRunning refuses a group whose operation gives signs of life. One that was abandoned is gone on with, or replaced, by
// the next operation.
func (c *Catalog) notRunning(ctx context.Context, g *topology.Group) error {
	if g.Operation == nil {
		return nil
	}
	op, err := c.Operation(ctx, g.Name, g.Operation.ID)
	switch {
	case fault.Is(err, fault.Missing):
		op = topology.Operation{State: topology.OperationActive, StartedAt: g.Operation.StartedAt}
	case err != nil:
		return err
	}
	if !op.Running(c.now()) {
		return nil
	}
	return fault.New(fault.Taken, "take control of group "+g.Name, &Busy{g.Name, *g.Operation}).
		WithHint("It is running under the control plane that acts for the group now. Wait until it is over, or has given no sign of life for %.0f s.", topology.AbandonedAfter.Seconds())
}

// seize makes t.Region's bucket the one that decides, if that was asked for; why says what is wrong with the one that does.
func (c *Catalog) seize(ctx context.Context, s survey, t Takeover, why error) (Updated, error) {
	op := "take control of group " + s.Group.Name
	here := s.replies[t.Region]
	switch {
	case t.Region == s.Group.Authority || t.Region == "":
		return Updated{}, why
	case !t.Force:
		return Updated{}, fault.Newf(fault.KindOf(why), op, "the bucket of region %s decides over it, not that of %s: %w", s.Group.Authority, t.Region, why).
			WithHint("Bring the bucket of region %s back, or recover there. --force lets the bucket of %s decide by what it holds: what was decided or stored only in %s is then given up.",
				s.Group.Authority, t.Region, s.Group.Authority)
	case here.err != nil:
		return Updated{}, fault.Newf(fault.KindOf(here.err), op, "the bucket of region %s cannot be used: %w", t.Region, here.err)
	}
	if err := c.notRunning(ctx, &here.value.group); err != nil {
		return Updated{}, err
	}
	store, err := c.store(t.Region)
	if err != nil {
		return Updated{}, err
	}
	listed, err := newestEpoch(ctx, store, s.Group.Name)
	if err != nil {
		return Updated{}, err
	}
	next, _, err := apply(here.value, c.handOver(t))
	if err != nil {
		return Updated{}, err
	}
	was := here.value.group
	next.Seized = &topology.Seizure{At: c.now().UTC(), By: t.By, From: was.Authority, Revision: was.Revision, Epoch: max(listed, was.NewestEpoch()) + seizedEpochs}
	next.Authority, next.Term, next.Revision = t.Region, was.Term+1, was.Revision+seizedRevisions
	d, err := c.swapIn(ctx, t.Region, here.value, next)
	if err != nil {
		return Updated{}, err
	}
	return c.mirrored(ctx, d), nil
}

// skipped is the claim of an epoch that a seizure leaves out.
func skipped(s *topology.Seizure, by Claim, e topology.Epoch) Claim {
	by.Epoch, by.Operation, by.Claimant = e, "seized-"+s.At.UTC().Format("20060102T150405Z"), s.By
	return by
}
