package activities

import (
	"context"
)

// applyRules writes the access rules of a server: of a managed workspace those of its group's firewall and its own ones.
func (t *Target) applyRules(ctx context.Context, m ownServer) error {
	return openTo(ctx, m.server, m.group.Firewall, m.workspace.HBA, m.workspace.Ident)
}
