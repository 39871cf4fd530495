package activities

import (
	"context"

	"github.com/smartdr/smartdr/internal/postgres"
)

// dropLeftOut drops the databases that are not replicated: those that were restored as zeros, and those that were made
// after the snapshot. The notes name them.
func (t *Target) dropLeftOut(ctx context.Context, server *postgres.Server, in RestoreInput) (notes []string, err error) {
	return nil, nil
}
