package api

import (
	"context"
	"iter"
	"slices"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

const opUndo = "read undo record"

// MissingReport yields each change of a database's report, in order of tables and keys, and says what was compared. It reads as it goes, anew each
// time. The header's names are those of the database that serves.
func (s *Service) MissingReport(ctx context.Context, d MissingDatabase) (missing.Header, iter.Seq2[missing.Change, error], error) {
	if d.Report == "" {
		return missing.Header{Database: d.Database}, func(func(missing.Change, error) bool) {}, nil
	}
	store, err := s.missingStore(ctx, d.Region)
	if err != nil {
		return missing.Header{}, nil, err
	}
	return missing.ReadReport(ctx, store, d.Report)
}

// MissingChanges is MissingReport with the columns named, as far as a filter chooses them.
func (s *Service) MissingChanges(ctx context.Context, d MissingDatabase, f MissingFilter) (MissingChanges, error) {
	h, all, err := s.MissingReport(ctx, d)
	return MissingChanges{Of: d, Changes: func(yield func(MissingChange, error) bool) {
		for c, err := range f.Only(all) {
			if !yield(withNames(d, h, c), err) || err != nil {
				return
			}
		}
	}}, err
}

func (s *Service) missingStore(ctx context.Context, region string) (objectstore.Store, error) {
	c, err := s.openCatalog(ctx)
	if err != nil {
		return nil, err
	}
	if c.Stores[region] == nil {
		return nil, fault.Newf(fault.Invalid, opMissing, "region %q is not in the configuration", region)
	}
	return c.Stores[region], nil
}

// keepDecisions writes decisions where the merge finds them.
func (s *Service) keepDecisions(ctx context.Context, g topology.Group, d Decisions) (string, error) {
	store, err := s.missingStore(ctx, g.Active)
	if err != nil {
		return "", err
	}
	for of := range d {
		if sm := g.FindSystemManaged(of); sm != nil {
			return missing.PutDecisions(ctx, store, g.Name, sm.Workspace, d)
		}
	}
	return "", fault.Newf(fault.Missing, opDecide, "group %s has none of the system-managed databases that were decided about", g.Name)
}

// MissingUndo returns what leads back from the merges of a database, newest first. Whether a merge has committed only the server knows: the scripts
// ask it. fault.Missing when there was none; fault.Invalid when the request means several databases.
func (s *Service) MissingUndo(ctx context.Context, req MissingRequest) ([]missing.Undo, error) {
	g, waits, err := s.leftBehind(ctx, req)
	if err != nil {
		return nil, err
	}
	store, err := s.missingStore(ctx, g.Active)
	if err != nil {
		return nil, err
	}
	var all []missing.Undo
	var of string
	for _, w := range waits {
		undos, err := undosOf(ctx, store, g.Name, w)
		if err != nil {
			return nil, err
		}
		if len(undos) > 0 && of != "" {
			return nil, fault.Newf(fault.Invalid, opUndo, "%s and %s both have a merge, and a script is of one database", of, w.Name).
				WithHint("Name one of them.")
		}
		if len(undos) > 0 {
			all, of = undos, w.Name
		}
	}
	if len(all) == 0 {
		return nil, fault.Newf(fault.Missing, opUndo, "no merge is on record in the bucket of %s", g.Active).
			WithHint("`smartdr missing-rows %s --apply` merges, and keeps what leads back.", g.Name)
	}
	return all, nil
}

func undosOf(ctx context.Context, store objectstore.Store, group string, w topology.Waits) ([]missing.Undo, error) {
	keys, err := missing.UndoKeys(ctx, store, group, w.Workspace, w.Lineage, w.Database)
	if err != nil {
		return nil, err
	}
	var all []missing.Undo
	for _, key := range keys {
		u, err := missing.ReadUndo(ctx, store, key)
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	slices.SortStableFunc(all, func(a, b missing.Undo) int { return b.At.Compare(a.At) })
	return all, nil
}
