package activities

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// BeginOperation takes the group's lock, or goes on with the operation that holds it when nobody else does.
func (t *Target) BeginOperation(ctx context.Context, in BeginOperationInput) (BeginOperationResult, error) {
	p := beat(ctx)
	defer p.end()
	op := in.Operation
	op.RecordedAt = time.Now().UTC()
	err := t.Catalog.BeginOperation(ctx, op)
	var busy *catalog.Busy
	if !errors.As(err, &busy) {
		return BeginOperationResult{Operation: op}, judge(ctx, err)
	}
	result, err := t.takeOver(ctx, op, busy)
	return result, judge(ctx, err)
}

// takeOver goes on with the operation that holds the lock, or takes the lock from it if that is over.
func (t *Target) takeOver(ctx context.Context, op topology.Operation, busy *catalog.Busy) (BeginOperationResult, error) {
	held, err := t.Catalog.Operation(ctx, op.Group, busy.Held.ID)
	if err != nil && !fault.Is(err, fault.Missing) {
		return BeginOperationResult{}, err
	}
	if held.Running(time.Now()) {
		return BeginOperationResult{}, fault.Newf(fault.Taken, "begin operation", "%s, and it is running", busy.Error()).
			WithHint("wait for it; if its Temporal is lost, it can be taken over %.0f s after its last sign of life", topology.AbandonedAfter.Seconds())
	}
	if held.State == topology.OperationActive && held.Kind == op.Kind && held.To == op.To {
		held.RecordedAt = time.Now().UTC()
		return BeginOperationResult{Operation: held, Resumed: true}, t.Catalog.PutOperation(ctx, held)
	}
	return BeginOperationResult{Operation: op}, t.Catalog.TakeOverOperation(ctx, busy.Held.ID, op)
}

// ClaimEpoch claims the group's next epoch, or finds the one that this operation has claimed.
func (t *Target) ClaimEpoch(ctx context.Context, in ClaimEpochInput) (ClaimEpochResult, error) {
	p := beat(ctx)
	defer p.end()
	claim := catalog.Claim{Group: in.Group, Region: in.Region, Operation: in.Operation, Claimant: in.Claimant, Held: true}
	got, err := t.Catalog.ClaimEpoch(ctx, claim) // epoch 0: the next one, or the one that the operation has already
	return ClaimEpochResult{Epoch: got.Epoch}, judge(ctx, err)
}

// RecordOperation writes an operation's account as it stands.
func (t *Target) RecordOperation(ctx context.Context, in RecordOperationInput) error {
	p := beat(ctx)
	defer p.end()
	in.Operation.RecordedAt = time.Now().UTC()
	if err := t.controls(ctx, in.Operation.Group); err != nil {
		return judge(ctx, err)
	}
	return judge(ctx, t.Catalog.PutOperation(ctx, in.Operation))
}

// EndOperation writes an operation's end and releases the group's lock.
func (t *Target) EndOperation(ctx context.Context, in RecordOperationInput) error {
	p := beat(ctx)
	defer p.end()
	in.Operation.RecordedAt = time.Now().UTC()
	if err := t.controls(ctx, in.Operation.Group); err != nil {
		return judge(ctx, err)
	}
	return judge(ctx, t.Catalog.EndOperation(ctx, in.Operation))
}

// controls refuses to write over the account of an operation that another control plane goes on with.
func (s *Site) controls(ctx context.Context, group string) error {
	l, err := s.Catalog.Load(ctx, group)
	if err != nil {
		return err
	}
	return catalog.Controls(&l.Group, s.Controller)
}

// FindFailover returns the group's last failover, if it can be gone on with: it claimed an epoch that nobody has followed,
// and it has ended or was abandoned before every workspace served.
func (c *Control) FindFailover(ctx context.Context, in FindFailoverInput) (topology.Operation, error) {
	p := beat(ctx)
	defer p.end()
	op, err := c.findFailover(ctx, in)
	return op, judge(ctx, err)
}

func (c *Control) findFailover(ctx context.Context, in FindFailoverInput) (topology.Operation, error) {
	all, err := c.Catalog.Operations(ctx, in.Group)
	if err != nil {
		return topology.Operation{}, err
	}
	at := lastClaim(all, in)
	if at < 0 {
		return topology.Operation{}, fault.Newf(fault.Invalid, "resume failover", "group %s has never been failed over", in.Group)
	}
	newest, err := c.Catalog.NewestEpoch(ctx, in.Group)
	if err != nil {
		return topology.Operation{}, err
	}
	return all[at], resumable(all[at], newest, time.Now())
}

// lastClaim finds, of operations that are newest first, the one that may be gone on with: the newest that has claimed an epoch or
// may have, else the newest failover; -1 if there is none.
func lastClaim(all []topology.Operation, in FindFailoverInput) int {
	at := slices.IndexFunc(all, func(op topology.Operation) bool {
		abandoned := op.Kind == in.Kind && op.State == topology.OperationActive // its last word may be older than its claim
		return abandoned || op.Epoch > 0 && (op.Kind == in.Kind || slices.Contains(in.Moves, op.Kind))
	})
	if at < 0 {
		at = slices.IndexFunc(all, func(op topology.Operation) bool { return op.Kind == in.Kind })
	}
	return at
}

// resumable refuses what there is nothing to go on with.
func resumable(op topology.Operation, newest topology.Epoch, now time.Time) error {
	const doing = "resume failover"
	what := cmp.Or(strings.ToLower(op.Kind), "failover")
	switch {
	case op.State == topology.OperationCompleted:
		return fault.Newf(fault.Invalid, doing, "the last %s of group %s (%s) brought everything up: there is nothing to resume", what, op.Group, op.ID)
	case op.State == topology.OperationActive && now.Sub(op.RecordedAt) < topology.AbandonedAfter:
		return fault.Newf(fault.Taken, doing, "the %s %s of group %s is running", what, op.ID, op.Group).WithHint("Wait until it has ended.")
	case op.State == topology.OperationActive && op.Epoch == 0:
		return nil // its last word is older than its claim, if it made one: ClaimEpoch finds out
	case op.Epoch == 0:
		return fault.Newf(fault.Invalid, doing, "the last failover of group %s (%s) ended before it changed anything", op.Group, op.ID).
			WithHint("Start a new one: smartdr failover --group %s", op.Group)
	case op.Epoch < newest:
		return fault.Newf(fault.Fenced, doing, "the last %s of group %s (%s) claimed epoch %d, and epoch %d was claimed since", what, op.Group, op.ID, op.Epoch, newest).
			WithHint("Start a new one: smartdr failover --group %s", op.Group)
	}
	return nil
}
