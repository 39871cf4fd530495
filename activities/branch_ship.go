package activities

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/ship"
	"github.com/smartdr/smartdr/internal/topology"
)

// branchEvery is how often a branch's shipper looks whether the branch has another attachment: each look reads the group's document.
const branchEvery = 10 * time.Second

// ShipBranch streams what is written to a branch to its region's bucket for one turn, or longer while Temporal is away, and merges
// what is small there.
func (s *Source) ShipBranch(ctx context.Context, in ShipBranchInput) (ShipSegmentsResult, error) {
	p := beat(ctx)
	defer p.end()
	result, err := s.shipBranch(ctx, in, p)
	return result, judge(ctx, describe(err, "branch %s", in.Branch))
}

func (s *Source) shipBranch(ctx context.Context, in ShipBranchInput, p *pulse) (r ShipSegmentsResult, err error) {
	ctx, done := lasting(ctx, s.Answers)
	defer done()
	shipping, release, err := s.turns.take(ctx, "branch/"+in.Attachment)
	if err != nil {
		return r, err
	}
	defer release()
	a, b, err := s.attached(shipping, in.BranchInput)
	if err != nil {
		return r, err
	}
	at := slices.IndexFunc(b.Line, func(l topology.Lineage) bool { return l.ID == a.Lineage })
	if a.ReadOnly || at < 0 {
		return r, fault.Newf(fault.Fenced, "ship branch", "nothing is written to it")
	}
	store, err := s.store(b.Region)
	if err != nil {
		return r, err
	}
	shipper := s.branchShipper(in.BranchInput, b, b.Line[at], ship.Destination{Region: b.Region, Store: store}, p)
	before, err := s.Catalog.BranchProgress(shipping, in.Group, b.Name, a.ID)
	if err == nil {
		shipper.Announced = before.WALProgress
	}
	reason, err := s.runTurn(shipping, time.Duration(in.TurnSeconds)*time.Second, func(ctx context.Context) error {
		both, ctx := errgroup.WithContext(ctx)
		ctx, stop := context.WithCancel(ctx)
		both.Go(func() error { defer stop(); return shipper.Run(ctx) })
		both.Go(func() error {
			s.mergeBranch(ctx, archive.Open(store, in.Group, b.Workspace, a.Lineage), int64(b.Line[at].SegmentSize))
			return nil
		})
		return both.Wait()
	})
	return ShipSegmentsResult{Lineage: a.Lineage, Reason: string(reason)}, err
}

func (s *Source) branchShipper(in BranchInput, b topology.Branch, l topology.Lineage, to ship.Destination, p *pulse) *ship.WAL {
	return &ship.WAL{
		Source: b.Attached.Source, Slot: branchSlot(in.Attachment),
		Group: in.Group, Workspace: b.Workspace, Lineage: l, Epoch: l.Epoch, Destinations: []ship.Destination{to},
		Announce: func(ctx context.Context, w topology.WALProgress) error {
			p.say(w)
			return s.Catalog.PutBranchProgress(ctx, in.Group, b.Name, in.Attachment, topology.BranchProgress{WALProgress: w})
		},
		Fenced: s.branchOver(in),
		Log:    s.Log.With("group", in.Group, "branch", in.Branch, "lineage", l.ID),
	}
}

// branchOver returns what a branch's shipper asks to know whether its time is over. That nobody answers is no reason to stop.
func (s *Site) branchOver(in BranchInput) func(context.Context) error {
	var looked time.Time
	return func(ctx context.Context) error {
		if time.Since(looked) < branchEvery {
			return nil
		}
		looked = time.Now()
		_, _, err := s.attached(ctx, in)
		return err
	}
}

// mergeBranch makes larger objects of small ones until ctx is done. What fails is tried again a minute later.
func (s *Source) mergeBranch(ctx context.Context, a *archive.Archive, cell int64) {
	for pauseFor(ctx, mergeEvery); ctx.Err() == nil; pauseFor(ctx, mergeEvery) {
		if err := a.MergeSmall(ctx, cell, false); err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "small segments of a branch were not merged", "lineage", a.Lineage(), "error", err)
		}
	}
}

// TellBranch says in the group's document what keeps an attachment; without an error, that nothing does.
func (c *Control) TellBranch(ctx context.Context, in TellBranchInput) error {
	p := beat(ctx)
	defer p.end()
	c.tellAttachment(ctx, in.BranchInput, in.Error, in.Hint)
	return nil
}

// EnsureBranchReplication starts what ships a branch's WAL, unless it runs for this attachment. One of an earlier attachment, which would end
// by itself, is ended.
func (c *Control) EnsureBranchReplication(ctx context.Context, in EnsureBranchReplicationInput) error {
	p := beat(ctx)
	defer p.end()
	return judge(ctx, describe(c.ensureBranch(ctx, in), "branch %s", in.Branch))
}

// attachmentMemo is where a workflow that ships a branch says of which attachment.
const attachmentMemo = "attachment"

func (c *Control) ensureBranch(ctx context.Context, in EnsureBranchReplicationInput) error {
	options := client.StartWorkflowOptions{
		ID: in.WorkflowID, TaskQueue: "smartdr", Memo: map[string]any{attachmentMemo: in.Attachment},
		WorkflowIDConflictPolicy:                 enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		StaticSummary:                            "ships what is written to branch " + in.Branch + " of " + in.Group,
	}
	runs, other, err := c.runsFor(ctx, in)
	if err != nil || runs {
		return err
	}
	if other {
		options.WorkflowIDConflictPolicy = enums.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING
	}
	_, err = c.Temporal.ExecuteWorkflow(ctx, options, in.WorkflowType, branchReplication{in.Group, in.Branch, in.Attachment, in.Region, in.Host})
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &already) {
		return nil // somebody else was faster
	}
	if err != nil {
		return fault.New(fault.Transient, "start shipping", err)
	}
	return nil
}

// branchReplication is the input of the workflow that is started (workflows.BranchReplicationInput).
type branchReplication struct {
	Group      string `json:"group"`
	Branch     string `json:"branch"`
	Attachment string `json:"attachment"`
	Region     string `json:"region"`
	Host       string `json:"host"`
}

// runsFor reports whether an attachment's shipping runs, or that of another one of the branch.
func (c *Control) runsFor(ctx context.Context, in EnsureBranchReplicationInput) (runs, other bool, err error) {
	d, err := c.Temporal.DescribeWorkflowExecution(ctx, in.WorkflowID, "")
	var none *serviceerror.NotFound
	switch {
	case errors.As(err, &none):
		return false, false, nil
	case err != nil:
		return false, false, fault.New(fault.Transient, "look for shipping", err)
	case d.WorkflowExecutionInfo.Status != enums.WORKFLOW_EXECUTION_STATUS_RUNNING:
		return false, false, nil
	}
	var of string
	if memo := d.WorkflowExecutionInfo.Memo.GetFields()[attachmentMemo]; memo != nil {
		if err := converter.GetDefaultDataConverter().FromPayload(memo, &of); err != nil {
			return false, false, fault.New(fault.Invalid, "look for shipping", err)
		}
	}
	return of == in.Attachment, of != in.Attachment, nil
}

// KeepBranches sees to it, until ctx is done, that what is written to the branches of this host is shipped: it starts their workflows where
// they do not run, as with a new Temporal. workflow says the type and id of a branch's.
func KeepBranches(ctx context.Context, c *Control, t *Target, workflow func(group, branch string) (kind, id string)) {
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-next.C:
		case <-ctx.Done():
			return
		}
		if err := keepBranches(ctx, c, t, workflow); err != nil && ctx.Err() == nil {
			t.Log.WarnContext(ctx, "not all branches of this host are shipped", "error", err)
		}
		next.Reset(branchEvery)
	}
}

func keepBranches(ctx context.Context, c *Control, t *Target, workflow func(group, branch string) (kind, id string)) error {
	owners, err := t.branchOwners()
	var errs []error
	for _, o := range owners {
		if o.ReadOnly || !o.Published || o.Shipped {
			continue
		}
		loaded, err := c.Catalog.Load(ctx, o.Group)
		if err != nil || t.attachmentHere(&loaded.Group, o) == nil || catalog.Controls(&loaded.Group, t.Controller) != nil {
			errs = append(errs, err)
			continue
		}
		in := EnsureBranchReplicationInput{BranchInput: BranchInput{Group: o.Group, Branch: o.Branch, Attachment: o.Attachment}, Region: t.Region, Host: t.Host}
		in.WorkflowType, in.WorkflowID = workflow(o.Group, o.Branch)
		errs = append(errs, c.ensureBranch(ctx, in))
	}
	return errors.Join(append(errs, err)...)
}
