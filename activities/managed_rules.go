package activities

import (
	"context"

	"github.com/smartdr/smartdr/internal/metadata"
)

// applyRules writes the access rules of a server: of a managed workspace those of its group's firewall and its own ones, of
// one that was adopted and then restored also those that it came with. The notes say what could not be carried over.
func (t *Target) applyRules(ctx context.Context, m ownServer) ([]string, error) {
	var captured metadata.Metadata
	var place metadata.Place
	if !m.workspace.Managed(m.group.Primary) {
		var err error
		if captured, err = t.metadata(ctx, m.group.Name, m.workspace.Name); err != nil {
			return nil, err
		}
		if place, err = t.metadataPlace(ctx, m.server, captured); err != nil {
			return nil, err
		}
	}
	a, err := metadata.AccessOf(m.group, m.workspace, captured, place)
	if err != nil {
		return nil, err
	}
	return ruleNotes(a), applyAccess(ctx, m.server, a)
}
