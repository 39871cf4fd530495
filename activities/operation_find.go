package activities

import (
	"context"
	"slices"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// FindClaim returns the epoch that an operation has claimed, if it has.
func (t *Target) FindClaim(ctx context.Context, in FindClaimInput) (FindClaimResult, error) {
	p := beat(ctx)
	defer p.end()
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err == nil && !slices.Contains(loaded.From, loaded.Group.Authority) {
		err = fault.Newf(fault.Transient, "find claim", "the bucket of %s, which decides over group %s, does not answer", loaded.Group.Authority, in.Group)
	}
	if err != nil {
		return FindClaimResult{}, judge(ctx, err)
	}
	if c := loaded.Group.Claimed; c != nil && c.Operation == in.Operation {
		return FindClaimResult{Epoch: c.Epoch}, nil
	}
	fences, err := t.fencesOf(ctx, loaded.Group, in.Operation)
	return FindClaimResult{Fences: fences}, judge(ctx, err)
}

// fencesOf returns the fences that an operation has set on the servers that write the current lineages.
func (t *Target) fencesOf(ctx context.Context, g topology.Group, operation string) (all []topology.Fence, err error) {
	for i := range g.Workspaces {
		w := &g.Workspaces[i]
		if w.Lineage == "" {
			continue
		}
		f, err := t.Catalog.Fence(ctx, g.Name, w.Name, w.Lineage)
		switch {
		case err == nil && f.Operation == operation:
			all = append(all, f)
		case err != nil && !fault.Is(err, fault.Missing):
			return nil, err
		}
	}
	return all, nil
}

// FindOperation returns the account of an operation.
func (c *Control) FindOperation(ctx context.Context, in FindOperationInput) (topology.Operation, error) {
	p := beat(ctx)
	defer p.end()
	op, err := c.Catalog.Operation(ctx, in.Group, in.Operation)
	if fault.Is(err, fault.Missing) {
		return topology.Operation{ID: in.Operation, Group: in.Group}, nil
	}
	return op, judge(ctx, err)
}
