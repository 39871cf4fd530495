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
