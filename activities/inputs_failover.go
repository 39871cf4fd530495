package activities

import "github.com/smartdr/smartdr/internal/topology"

// FindFailoverInput asks for the failover of a group that can be gone on with.
type FindFailoverInput struct {
	Group string   `json:"group"`
	Kind  string   `json:"kind"`
	Moves []string `json:"moves,omitempty"` // kinds that count too, once they have claimed an epoch
}

// CheckHostInput asks whether a host can run a workspace.
type CheckHostInput struct {
	Group string        `json:"group"`
	Plan  WorkspacePlan `json:"plan"`
}

// HostInput names a host of the worker's region.
type HostInput struct {
	Host string `json:"host"`
}

// HostThereResult says whether a host's worker is there, as far as its announcements show.
type HostThereResult struct {
	There bool `json:"there"`
}

// needs returns what the workspaces ask for that are to be placed. The hosts that refused one do not get it; neither do
// others than its own where it is to stay.
func (p FailoverPlan) needs(group string, refused map[string][]string, hosts []topology.Host, stay bool) []topology.Need {
	var all []topology.Need
	for _, w := range p.Workspaces {
		if w.Error != "" || w.Serving != nil {
			continue
		}
		n := topology.Need{Group: group, Workspace: w.Workspace, Size: w.Need.Size, DiskBytes: w.Need.DiskBytes, Major: w.ServerVersion / 10000, Without: refused[w.Workspace]}
		if w.Reserved != nil {
			n.Prefer = w.Reserved.Host
		}
		for _, h := range hosts {
			if stay && w.Host != "" && h.Name != w.Host {
				n.Without = append(n.Without, h.Name)
			}
		}
		all = append(all, n)
	}
	return all
}

// FailoverChoice is how much an operator leaves behind: what is chosen, and what is accepted.
type FailoverChoice struct {
	Choice topology.Choice `json:"choice,omitzero"`
	// MaxDataLoss refuses a plan that would lose more, or of which that cannot be known; nil accepts any loss.
	MaxDataLoss *topology.LossLimit `json:"maxDataLoss,omitempty"`
}
