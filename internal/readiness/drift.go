package readiness

import (
	"slices"

	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/topology"
)

// drift lists how each workspace's server would differ after a failover now, on the host that it would be placed on.
func drift(f Facts) []topology.DriftItem {
	var all []topology.DriftItem
	for i := range f.Workspaces {
		w := &f.Workspaces[i]
		if w.Metadata == nil {
			continue // the item metadata says that nothing is known of it
		}
		if h, known := f.destination(w); known {
			all = append(all, metadata.Drift(f.Group, w.Workspace, *w.Metadata, h)...)
		}
	}
	return all
}

// destination returns what is known of the host that a failover now would choose, or, if it would find none, of the first
// that could run the server.
func (f Facts) destination(w *Workspace) (h metadata.Host, known bool) {
	programs, _ := f.candidates(w.Metadata.ServerVersion / 10000)
	if len(programs) == 0 {
		return h, false
	}
	placed, err := topology.Place(f.needs(), f.Hosts, f.Now)
	if err == nil {
		if at := slices.IndexFunc(programs, func(p program) bool { return p.host == placed[w.Name] }); at >= 0 {
			return programs[at].facts, true
		}
	}
	return programs[0].facts, true
}

func (f Facts) needs() []topology.Need {
	needs := make([]topology.Need, len(f.Workspaces))
	for i := range f.Workspaces {
		needs[i] = f.Workspaces[i].need(f.Group.Name)
	}
	return needs
}
