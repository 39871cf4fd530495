package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
)

// placeTries bounds the search for room. What it stands for is seldom more than a dozen workspaces on a few hosts.
const placeTries = 20_000

// Place chooses a host for each workspace, by name. Only hosts count whose announcement is fresh at now and that have the
// workspace's PostgreSQL. No host gets more than it has left beside the servers that are on it: of memory and CPUs what is
// not promised to others, of disk what is free. The largest workspace is placed first, on the first host that has room;
// workspaces that ask for disk alone are spread evenly. A host that is preferred is tried before the others. The result depends on the arguments alone, and not on their order.
//
// Errors are fault.Invalid: they name a workspace that has no place, what it needs and the most that any host has.
func Place(needs []Need, hosts []Host, now time.Time) (map[string]string, error) {
	p := &placer{rooms: rooms(needs, hosts, now), placed: map[string]string{}, tries: placeTries}
	if len(needs) == 0 {
		return p.placed, nil
	}
	if len(p.rooms) == 0 {
		return nil, nobodyFresh(hosts, now)
	}
	p.needs = slices.Clone(needs)
	slices.SortFunc(p.needs, func(a, b Need) int {
		return cmp.Or(cmp.Compare(b.Size.MemoryBytes, a.Size.MemoryBytes), cmp.Compare(b.Size.CPUs, a.Size.CPUs),
			cmp.Compare(b.DiskBytes, a.DiskBytes), cmp.Compare(a.Workspace, b.Workspace))
	})
	before := slices.Clone(p.rooms)
	if p.place(0) {
		return p.placed, nil
	}
	return nil, p.refusal(before)
}

// placer searches for a placement, depth first.
type placer struct {
	needs   []Need
	rooms   []room // by name
	placed  map[string]string
	tries   int
	deepest int // how many needs had a place at best
}

// room is what a host has left.
type room struct {
	host    Host
	memory  int64
	cpus    float64
	disk    int64
	servers int
}

// rooms returns what the fresh hosts have left. What is there already of a workspace that needs a place makes way for it.
func rooms(needs []Need, hosts []Host, now time.Time) []room {
	moving := map[Placed]bool{}
	for _, n := range needs {
		moving[Placed{Group: n.Group, Workspace: n.Workspace}] = n.Group != ""
	}
	var all []room
	for _, h := range hosts {
		if !h.Fresh(now) {
			continue
		}
		r := room{host: h, memory: h.MemoryBytes, cpus: h.CPUs, disk: h.DiskBytes}
		for _, p := range h.Placed {
			if p.Branch == "" && moving[Placed{Group: p.Group, Workspace: p.Workspace}] {
				r.disk += p.Spare
				continue
			}
			r.memory, r.cpus, r.servers = r.memory-p.Size.MemoryBytes, r.cpus-p.Size.CPUs, r.servers+1
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b room) int { return cmp.Compare(a.host.Name, b.host.Name) })
	return all
}

// place finds places for the needs from the i-th on. The first way down is first-fit decreasing; it goes back from there
// when that leads nowhere.
func (p *placer) place(i int) bool {
	p.deepest = max(p.deepest, i)
	if i == len(p.needs) {
		return true
	}
	n := p.needs[i]
	for _, at := range p.order(n) {
		if p.tries--; p.tries < 0 {
			return false
		}
		r := &p.rooms[at]
		if !r.has(n) {
			continue
		}
		was := *r
		r.take(n)
		p.placed[n.Workspace] = r.host.Name
		if p.place(i + 1) {
			return true
		}
		*r = was
		delete(p.placed, n.Workspace)
	}
	return false
}

// order returns the rooms in the order in which they are tried: by name, or, for what asks for disk alone, the one with
// the fewest servers first, and of those the one with the most disk.
func (p *placer) order(n Need) []int {
	at := make([]int, len(p.rooms))
	for i := range at {
		at[i] = i
	}
	if n.Size.IsZero() {
		slices.SortStableFunc(at, func(a, b int) int {
			return cmp.Or(cmp.Compare(p.rooms[a].servers, p.rooms[b].servers), cmp.Compare(p.rooms[b].disk, p.rooms[a].disk))
		})
	}
	if i := slices.IndexFunc(at, func(i int) bool { return p.rooms[i].host.Name == n.Prefer }); i > 0 {
		preferred := at[i]
		at = slices.Insert(slices.Delete(at, i, i+1), 0, preferred)
	}
	return at
}

func (r *room) has(n Need) bool {
	return r.suits(n) && (n.Size.MemoryBytes == 0 || n.Size.MemoryBytes <= r.memory) && (n.Size.CPUs == 0 || n.Size.CPUs <= r.cpus) && n.DiskBytes <= r.disk
}

// suits reports whether the host is one for the workspace at all, however much it has left.
func (r *room) suits(n Need) bool {
	return !slices.Contains(n.Without, r.host.Name) && (n.Major == 0 || slices.Contains(r.host.majors(), n.Major))
}

func (r *room) take(n Need) {
	r.memory, r.cpus, r.disk, r.servers = r.memory-n.Size.MemoryBytes, r.cpus-n.Size.CPUs, r.disk-n.DiskBytes, r.servers+1
}

func (h Host) majors() (all []int) {
	for _, p := range h.Programs {
		all = append(all, p.Version/10000)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func nobodyFresh(hosts []Host, now time.Time) error {
	e := fault.Newf(fault.Invalid, "place workspaces", "no host has announced itself")
	if len(hosts) > 0 {
		var all []string
		for _, h := range hosts {
			all = append(all, fmt.Sprintf("%s was last heard of %s ago", h.Name, now.Sub(h.AnnouncedAt).Round(time.Second)))
		}
		e = fault.Newf(fault.Invalid, "place workspaces", "no host is there: %s", strings.Join(all, ", "))
	}
	return e.WithHint("Start smartdr-worker there with a data folder (worker.dataDir), and see that its clock is right; it announces its host at once.")
}

// refusal says why the first workspace that found no place has none.
func (p *placer) refusal(before []room) error {
	n := p.needs[min(p.deepest, len(p.needs)-1)]
	suiting := slices.DeleteFunc(slices.Clone(before), func(r room) bool { return !r.suits(n) })
	if len(suiting) == 0 {
		return unsuited(n, before)
	}
	why := fmt.Sprintf("workspace %s is larger than any host: it needs %s; the most that a host has left is %s", n.Workspace, n.text(), most(suiting))
	if slices.ContainsFunc(suiting, func(r room) bool { return r.has(n) }) {
		why = fmt.Sprintf("the hosts have no room for all workspaces: beside the others workspace %s finds no place, which needs %s; the most that a host has left for all is %s",
			n.Workspace, n.text(), most(suiting))
	}
	return fault.Newf(fault.Invalid, "place workspaces", "%s", why).
		WithHint("Add a host or a larger one (worker.memory and worker.cpus say what one may use), make room on one, or choose a smaller size: smartdr workspace change --workspace %s --size SIZE", n.Workspace)
}

func unsuited(n Need, all []room) error {
	var have []string
	for _, r := range all {
		if slices.Contains(n.Without, r.host.Name) {
			have = append(have, r.host.Name+" is left out")
			continue
		}
		var majors []string
		for _, m := range r.host.majors() {
			majors = append(majors, strconv.Itoa(m))
		}
		have = append(have, fmt.Sprintf("%s has %s", r.host.Name, cmp.Or(strings.Join(majors, ", "), "none")))
	}
	return fault.Newf(fault.Invalid, "place workspaces", "workspace %s needs PostgreSQL %d, and no host can run it: %s", n.Workspace, n.Major, strings.Join(have, "; ")).
		WithHint("Install PostgreSQL %d on one of them, or name its bin folder in worker.pgBinDirs.", n.Major)
}

func (n Need) text() string {
	var parts []string
	if !n.Size.IsZero() {
		parts = append(parts, memory(n.Size.MemoryBytes)+" of memory", cpus(n.Size.CPUs))
	}
	return listed(append(parts, memory(n.DiskBytes)+" of disk"))
}

// most returns the largest amounts, each with the host that has it.
func most(all []room) string {
	largest := func(less func(a, b room) int) room { return slices.MaxFunc(all, less) }
	m := largest(func(a, b room) int { return cmp.Compare(a.memory, b.memory) })
	c := largest(func(a, b room) int { return cmp.Compare(a.cpus, b.cpus) })
	d := largest(func(a, b room) int { return cmp.Compare(a.disk, b.disk) })
	return listed([]string{
		fmt.Sprintf("%s of memory (%s)", memory(max(m.memory, 0)), m.host.Name),
		fmt.Sprintf("%s (%s)", cpus(max(c.cpus, 0)), c.host.Name),
		fmt.Sprintf("%s of disk (%s)", memory(max(d.disk, 0)), d.host.Name),
	})
}

func cpus(n float64) string { return strconv.FormatFloat(n, 'g', -1, 64) + " CPUs" }

// listed writes "a, b and c".
func listed(parts []string) string {
	last := len(parts) - 1
	if last == 0 {
		return parts[0]
	}
	return strings.Join(parts[:last], ", ") + " and " + parts[last]
}
