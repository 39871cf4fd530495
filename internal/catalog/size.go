package catalog

import "github.com/smartdr/smartdr/internal/topology"

// Size is how many bytes a group's document takes in each bucket.
func Size(g topology.Group) (int64, error) {
	b, err := encode(g)
	return int64(len(b)), err
}
