package snapshot

import (
	"context"
	"errors"

	"github.com/smartdr/smartdr/internal/objectstore"
)

var errTodo = errors.New("not there yet")

// List returns the published snapshots of a workspace, oldest first. store is a root store. Load says more about each.
func List(ctx context.Context, store objectstore.Store, group, workspace string) ([]Summary, error) {
	return nil, errTodo
}

// Load reads and verifies a manifest. Errors: fault.Missing; fault.Corrupt, naming the object; fault.Invalid when
// its format is newer than this program.
func Load(ctx context.Context, store objectstore.Store, group, workspace, id string) (*Manifest, error) {
	return nil, errTodo
}
