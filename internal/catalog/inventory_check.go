package catalog

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// CheckInventory reads back what one bucket holds of a workspace's inventory, and returns the key of the content that its document names, or "" when there is
// none that can be read. Errors: fault.Corrupt when the content is not there or is not what was written, and those of the store.
func CheckInventory(ctx context.Context, s objectstore.Store, group, workspace string) (key string, err error) {
	v, err := readAnnounced[Inventory](ctx, s, workspaceKey(group, workspace, inventoryFile))
	if err != nil {
		if fault.Is(err, fault.Missing) || fault.Is(err, fault.Corrupt) || fault.Is(err, fault.Invalid) {
			return "", nil
		}
		return "", err
	}
	key = inventoryKey(group, workspace, v)
	_, err = readContent(ctx, s, key, v)
	return key, err
}
