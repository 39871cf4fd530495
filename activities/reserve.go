package activities

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// A place is kept for a workspace where a server of it would run, so that its clients can know the address before. What counts
// on a host is its own reservations.json: two groups that ask at once get two ports. The group's document repeats it, for those
// who want to know.

// reservationsFile, in a host's data folder, holds the ports that are kept there.
const reservationsFile = "reservations.json"

// keptFor is how long a place stays kept on a host that says nothing any more: clients know its address, and a host that is being
// repaired comes back.
const keptFor = 24 * time.Hour

// keptPort is one entry of reservations.json.
type keptPort struct {
	Group     string `json:"group"`
	Workspace string `json:"workspace"`
	Port      int    `json:"port"`
}

func (k keptPort) of(group, workspace string) bool {
	return k.Group == group && k.Workspace == workspace
}

// PlanReservations finds out which places are to be kept for a group and are not yet, and chooses the hosts as a failover would.
func (c *Control) PlanReservations(ctx context.Context, in ReadGroupInput) (PlanReservationsResult, error) {
	p := beat(ctx)
	defer p.end()
	wanted, err := c.planReservations(ctx, in.Group)
	return PlanReservationsResult{Wanted: wanted}, judge(ctx, err)
}

func (c *Control) planReservations(ctx context.Context, group string) ([]topology.Wanted, error) {
	loaded, err := c.Catalog.Load(ctx, group)
	if err != nil {
		return nil, err
	}
	hosts := map[string][]topology.Host{}
	for _, region := range []string{loaded.Group.Primary, loaded.Group.Secondary} {
		if found, err := c.Catalog.Hosts(ctx, region); err == nil { // of a region that does not answer nothing new can be said
			hosts[region] = found
		}
	}
	there := func(region, host string) bool {
		known, answered := hosts[region]
		return !answered || slices.ContainsFunc(known, func(h topology.Host) bool {
			return h.Name == host && now().Sub(h.AnnouncedAt) < keptFor
		})
	}
	var all []topology.Wanted
	for _, w := range loaded.Group.WantsReservations(there) {
		if w.Host == "" {
			w.Host = c.hostFor(ctx, loaded.Group, w, all, hosts[w.Region])
		}
		if w.Host != "" {
			all = append(all, w)
		}
	}
	return all, nil
}

// hostFor places one workspace beside those whose place is kept already, and those that were placed before; "" where it has no room now.
func (c *Control) hostFor(ctx context.Context, g topology.Group, want topology.Wanted, before []topology.Wanted, hosts []topology.Host) string {
	at := map[string]string{} // hosts by workspace
	for _, w := range g.Workspaces {
		if r := w.Reservations[want.Region]; w.Recoverable() && r.Host != "" {
			at[w.Name] = r.Host
		}
	}
	for _, b := range before {
		if b.Region == want.Region {
			at[b.Workspace] = b.Host
		}
	}
	delete(at, want.Workspace)
	needs := []topology.Need{c.reservedNeed(ctx, g, want.Workspace)}
	placed, err := topology.Place(needs, c.beside(ctx, g, at, hosts), now())
	if err != nil {
		placed, err = topology.Place(needs, hosts, now()) // better an address for one than for none
	}
	if err != nil {
		return ""
	}
	return placed[want.Workspace]
}

// reservedNeed is what a workspace will need where its place is kept. Before the first snapshot any host will do.
func (c *Control) reservedNeed(ctx context.Context, g topology.Group, workspace string) topology.Need {
	n := topology.Need{Group: g.Name, Workspace: workspace, Size: g.Workspace(workspace).Size}
	if snapshot, err := c.Catalog.SnapshotProgress(ctx, g.Name, workspace); err == nil {
		n.DiskBytes = snapshot.TotalBytes
	}
	return n
}

// beside returns hosts as they would be with workspaces where their places are kept.
func (c *Control) beside(ctx context.Context, g topology.Group, at map[string]string, hosts []topology.Host) []topology.Host {
	all := slices.Clone(hosts)
	for i := range all {
		h := &all[i]
		h.Placed = slices.Clone(h.Placed)
		for workspace, host := range at {
			there := func(p topology.Placed) bool { return p.Group == g.Name && p.Workspace == workspace && p.Branch == "" }
			if host != h.Name || slices.ContainsFunc(h.Placed, there) {
				continue
			}
			n := c.reservedNeed(ctx, g, workspace)
			h.Placed = append(h.Placed, topology.Placed{Group: g.Name, Workspace: workspace, Size: n.Size})
			h.DiskBytes -= n.DiskBytes
		}
	}
	return all
}

// ReservePlace keeps a port of this host for a workspace: the one that it has had, else one that is free.
func (t *Target) ReservePlace(ctx context.Context, in ReservePlaceInput) (topology.Reservation, error) {
	p := beat(ctx)
	defer p.end()
	port, err := t.keepPort(ctx, in)
	return topology.Reservation{Host: t.Host, Endpoint: endpointOf(t.AdvertiseHost, port)}, judge(ctx, err)
}

func (t *Target) keepPort(ctx context.Context, in ReservePlaceInput) (int, error) {
	if t.DataDir == "" {
		return 0, fault.Newf(fault.Invalid, "keep a place", "host %s runs no servers", t.Host).WithHint("Set worker.dataDir there.")
	}
	t.ports.Lock()
	defer t.ports.Unlock()
	all, err := t.keptPorts()
	if err != nil {
		return 0, err
	}
	at := slices.IndexFunc(all, func(k keptPort) bool { return k.of(in.Group, in.Workspace) })
	if at >= 0 && (in.Port == 0 || all[at].Port == in.Port) {
		return all[at].Port, nil
	}
	all = slices.DeleteFunc(all, func(k keptPort) bool { return k.of(in.Group, in.Workspace) || k.Port == in.Port || t.unwanted(ctx, k) })
	port := in.Port
	if port == 0 {
		if port, err = t.unkept(all); err != nil {
			return 0, err
		}
	}
	return port, writeState(t.DataDir, reservationsFile, append(all, keptPort{Group: in.Group, Workspace: in.Workspace, Port: port}))
}

// unkept returns a port that is free and kept for nobody.
func (t *Target) unkept(all []keptPort) (int, error) {
	kept := map[int]bool{}
	for _, k := range all {
		kept[k.Port] = true
	}
	port, err := t.freePort(owner{}, 0, kept)
	if err == nil && kept[port] {
		err = fault.Newf(fault.Invalid, "keep a place", "every free port from %d to %d is kept for a workspace already", t.FirstPort, t.LastPort).
			WithHint("Widen the worker's range of ports.")
	}
	return port, err
}

func (t *Target) keptPorts() (all []keptPort, err error) {
	_, err = readState(t.DataDir, reservationsFile, &all)
	return all, err
}

// unwanted reports whether nobody wants what is kept any more: its group or workspace is terminated, or is kept elsewhere. Where the
// catalog does not say, somebody does.
func (t *Target) unwanted(ctx context.Context, k keptPort) bool {
	loaded, err := t.Catalog.Load(ctx, k.Group)
	if err != nil {
		return false
	}
	w := loaded.Group.Workspace(k.Workspace)
	return loaded.Group.State == topology.GroupTerminated || w == nil || w.State == topology.WorkspaceTerminated ||
		w.Reservations[t.Region].Host != "" && w.Reservations[t.Region].Host != t.Host
}

// keptForOthers are the ports of this host that are kept for others than the workspace; mine is the one that is kept for it, 0 if
// none is.
func (t *Target) keptForOthers(group, workspace string) (mine int, others map[int]bool, err error) {
	all, err := t.keptPorts()
	others = map[int]bool{}
	for _, k := range all {
		if k.of(group, workspace) {
			mine = k.Port
		} else {
			others[k.Port] = true
		}
	}
	return mine, others, err
}

// keepPlace has the place that is kept for a workspace preferred to others.
func (w *WorkspacePlan) keepPlace(of topology.Workspace, to string) {
	if kept, ok := of.Reservations[to]; ok {
		w.Reserved = &kept
	}
}

// RecordReservations writes into the group's document which places are kept.
func (c *Control) RecordReservations(ctx context.Context, in RecordReservationsInput) error {
	p := beat(ctx)
	defer p.end()
	_, err := c.Catalog.Update(ctx, in.Group, func(g *topology.Group) error {
		for _, r := range in.Kept {
			if w := g.Workspace(r.Workspace); w != nil && w.Recoverable() {
				w.Reservations = maps.Clone(w.Reservations)
				if w.Reservations == nil {
					w.Reservations = map[string]topology.Reservation{}
				}
				w.Reservations[r.Region] = r.Reservation
			}
		}
		return nil
	})
	return judge(ctx, err)
}
