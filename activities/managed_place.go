package activities

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// newServerBytes is the disk that a new server takes before anybody writes to it: templates, WAL files, and room for the
// first hours.
const newServerBytes = 1 << 30

// PlaceServers chooses a host of the region for each server that is to be made. Servers that name one go there.
func (t *Target) PlaceServers(ctx context.Context, in PlaceServersInput) (PlaceServersResult, error) {
	p := beat(ctx)
	defer p.end()
	hosts, err := t.Catalog.Hosts(ctx, in.Region)
	if err != nil {
		return PlaceServersResult{}, judge(ctx, err)
	}
	placed, err := placeServers(in.Servers, hosts, time.Now())
	return PlaceServersResult{Hosts: placed}, judge(ctx, err)
}

// placeServers places first what has no choice, so that the others make room for it.
func placeServers(servers []NewServer, hosts []topology.Host, now time.Time) ([]string, error) {
	placed := make([]string, len(servers))
	var free []topology.Need
	for i, s := range servers {
		need := topology.Need{Group: s.Group, Workspace: s.Workspace, Size: s.Size, DiskBytes: newServerBytes, Major: s.Postgres}
		if placedOn(s, hosts) {
			need.DiskBytes = 0 // its files are there
		}
		if s.Host == "" {
			free = append(free, need)
			continue
		}
		at := slices.IndexFunc(hosts, func(h topology.Host) bool { return h.Name == s.Host })
		if at < 0 {
			return nil, noHost(s, hosts)
		}
		if _, err := topology.Place([]topology.Need{need}, hosts[at:at+1], now); err != nil {
			return nil, err
		}
		placed[i] = s.Host
		hosts = slices.Clone(hosts)
		hosts[at].Placed = append(slices.Clone(hosts[at].Placed), topology.Placed{Group: s.Group, Workspace: s.Workspace, Epoch: s.Epoch, Size: s.Size})
		hosts[at].DiskBytes -= newServerBytes
	}
	chosen, err := topology.Place(free, hosts, now)
	if err != nil {
		return nil, err
	}
	for i, s := range servers {
		if placed[i] == "" {
			placed[i] = chosen[s.Workspace]
		}
	}
	return placed, nil
}

// placedOn reports whether the server is on the host already that it is to be on, and only changes its size.
func placedOn(s NewServer, hosts []topology.Host) bool {
	return slices.ContainsFunc(hosts, func(h topology.Host) bool {
		return h.Name == s.Host && slices.ContainsFunc(h.Placed, func(p topology.Placed) bool {
			return p.Group == s.Group && p.Workspace == s.Workspace && p.Branch == ""
		})
	})
}

func noHost(s NewServer, hosts []topology.Host) error {
	var names []string
	for _, h := range hosts {
		names = append(names, h.Name)
	}
	return fault.Newf(fault.Invalid, "choose host", "workspace %s is to run on host %q, and region %s has no such host", s.Workspace, s.Host, s.Region).
		WithHint("It has: %s.", strings.Join(names, ", "))
}
