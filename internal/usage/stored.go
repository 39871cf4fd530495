package usage

import (
	"context"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// List adds up what a region's bucket holds of a group, by kind. It stops after limit objects, as each thousand costs a
// request; 0 means all.
func List(ctx context.Context, s objectstore.Store, region, group string, limit int64, now time.Time) (topology.Stored, error) {
	prefix := groupsPrefix + group + "/"
	st := topology.Stored{Region: region, ListedAt: now.UTC(), Kinds: map[string]topology.StoredKind{}}
	n := int64(0)
	for info, err := range s.List(ctx, prefix, "") {
		if err != nil {
			return topology.Stored{}, err
		}
		if n++; limit > 0 && n > limit {
			st.Partial = true
			break
		}
		kind := kindOf(strings.TrimPrefix(info.Key, prefix))
		k := st.Kinds[kind]
		st.Kinds[kind] = topology.StoredKind{Objects: k.Objects + 1, Bytes: k.Bytes + info.Size}
	}
	return st, nil
}

// kindOf judges by the part after workspaces/<workspace>/ (docs/format.md).
func kindOf(key string) string {
	parts := strings.SplitN(key, "/", 4)
	if len(parts) == 4 && parts[0] == "workspaces" {
		switch parts[2] {
		case "wal":
			return topology.StoredWAL
		case "packs", "snapshots":
			return topology.StoredSnapshots
		}
	}
	return topology.StoredCatalog
}
