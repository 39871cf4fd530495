package activities

import (
	"context"

	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
)

// restorePipelines lets what feeds and drives the databases run again, once its position was compared with the other
// end's. The notes state positions, and what needs attention.
func (t *Target) restorePipelines(ctx context.Context, server *postgres.Server, in RestoreInput, m metadata.Metadata) (notes []string, err error) {
	return nil, nil
}

// compareInventory compares what the restored server holds (roles, grants, ownership, settings) with what was last seen on
// the primary. The notes list each difference.
func (t *Target) compareInventory(ctx context.Context, server *postgres.Server, in RestoreInput) (notes []string, err error) {
	return nil, nil
}
