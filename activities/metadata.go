package activities

import (
	"context"

	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
)

// RestoreMetadata puts right what nobody should see otherwise than it was on the primary, and then lets the users in again.
func (t *Target) RestoreMetadata(ctx context.Context, in RestoreInput) (PhaseResult, error) {
	p := beat(ctx)
	defer p.end()
	notes, err := t.restoreMetadata(ctx, in)
	return PhaseResult{Notes: notes}, judge(ctx, err)
}

// restoreMetadata may die anywhere and begins anew then; nobody but this host gets in before its last step.
func (t *Target) restoreMetadata(ctx context.Context, in RestoreInput) (notes []string, err error) {
	server, m, err := t.promoted(ctx, in)
	if err != nil {
		return nil, err
	}
	place, err := t.metadataPlace(ctx, server, m)
	if err != nil {
		return nil, err
	}
	if in.Branch != "" {
		return notesOf(t.branchSteps(ctx, server, in, m, place))
	}
	steps := []step{
		func() ([]string, error) { return t.dropLeftOut(ctx, server, in) },
		func() ([]string, error) { return nil, release(server) },
		func() ([]string, error) { return t.restorePipelines(ctx, server, in, m) }, // which may start the server again
		func() ([]string, error) { return t.moveSequences(ctx, server, in) },
	}
	if !in.CompareLater {
		steps = append(steps, t.comparisons(ctx, server, in, m)...)
	}
	return notesOf(append(steps, func() ([]string, error) { return t.letIn(ctx, server, in, m, place) }))
}

// step is a part of putting metadata right, with what is to be said of it.
type step func() ([]string, error)

func notesOf(steps []step) (notes []string, err error) {
	for _, do := range steps {
		said, err := do()
		if err != nil {
			return nil, err
		}
		notes = append(notes, said...)
	}
	return notes, nil
}

// comparisons change nothing: they say what is otherwise than on the primary.
func (t *Target) comparisons(ctx context.Context, server *postgres.Server, in RestoreInput, m metadata.Metadata) []step {
	return []step{
		func() ([]string, error) { return t.compareSettings(ctx, server, m) },
		func() ([]string, error) { return metadata.CollationNotes(ctx, server.Open) },
		func() ([]string, error) { return metadata.LossNotes(ctx, server.Open) },
		func() ([]string, error) { return t.compareInventory(ctx, server, in) },
	}
}

// promoted returns a server that was promoted, and what was last seen of the one that it takes the place of.
func (t *Target) promoted(ctx context.Context, in RestoreInput) (*postgres.Server, metadata.Metadata, error) {
	server, err := t.servedBy(ctx, in)
	if err != nil {
		return nil, metadata.Metadata{}, err
	}
	m, err := t.metadataOrNone(ctx, in)
	if err == nil {
		m.Managed, err = t.wasManaged(ctx, in)
	}
	return server, m, err
}

// CompareRestored says of a server that serves already what is otherwise than on the primary, where RestoreMetadata has left that
// for later: while it compares, somebody waits who wants to write.
func (t *Target) CompareRestored(ctx context.Context, in RestoreInput) (PhaseResult, error) {
	p := beat(ctx)
	defer p.end()
	notes, err := t.compareRestored(ctx, in)
	return PhaseResult{Notes: notes}, judge(ctx, err)
}

func (t *Target) compareRestored(ctx context.Context, in RestoreInput) ([]string, error) {
	server, m, err := t.promoted(ctx, in)
	if err != nil {
		return nil, err
	}
	return notesOf(t.comparisons(ctx, server, in, m))
}
