package readiness

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/topology"
)

func judgeWorker(f Facts) item {
	const check = "worker"
	start := fmt.Sprintf("Start one there: smartdr-worker --region %s", f.To)
	if f.HostsErr != nil {
		return unknown(check, f.HostsErr)
	}
	if len(f.Hosts) == 0 {
		return blocking(start, check, "No host of %s has ever announced itself: there is nobody to bring servers up.", f.To)
	}
	var fresh, stale []string
	for _, h := range f.Hosts {
		text := fmt.Sprintf("%s %s ago", h.Name, age(f.Now.Sub(h.AnnouncedAt)))
		if h.Fresh(f.Now) {
			fresh = append(fresh, text)
		} else {
			stale = append(stale, text)
		}
	}
	switch {
	case len(fresh) == 0:
		return blocking(start, check, "No worker runs in %s: its hosts announced themselves last: %s.", f.To, strings.Join(stale, ", "))
	case len(stale) > 0:
		return warning(start, check, "Announced: %s; silent: %s.", strings.Join(fresh, ", "), strings.Join(stale, ", "))
	}
	return ok(check, "Announced: %s.", strings.Join(fresh, ", "))
}

// need is what a failover would ask of a host for the workspace: next to nothing before there is a snapshot.
func (w *Workspace) need(group string) topology.Need {
	n := topology.Need{Group: group, Workspace: w.Name, Size: w.Size, DiskBytes: topology.RestoreBytes(0, 0)}
	if w.Snapshot != nil {
		n.Major = w.Snapshot.ServerVersion / 10000
		n.DiskBytes = topology.RestoreBytes(w.Snapshot.TotalBytes, int64(w.Chain.Tip.LSN-min(w.Chain.From, w.Chain.Tip.LSN)))
	}
	return n
}

// judgeCapacity places all workspaces, as a failover would now.
func judgeCapacity(f Facts) item {
	const check = "capacity"
	if len(f.fresh()) == 0 {
		return warning("Start a worker there.", check, "Whether the servers fit cannot be said: no host of %s is announced.", f.To)
	}
	needs := f.needs()
	var unknown []string
	var disk int64
	for i, n := range needs {
		if f.Workspaces[i].Snapshot == nil {
			unknown = append(unknown, n.Workspace)
		}
		disk += n.DiskBytes
	}
	placed, err := topology.Place(needs, f.Hosts, f.Now)
	switch {
	case err != nil:
		return blocking(fault.HintOf(err), check, "%s.", reason(err))
	case len(unknown) > 0:
		return warning("Wait for the first snapshot.", check, "How much room %s needs is not known before there is a snapshot; the others find a place.", strings.Join(unknown, ", "))
	}
	var where []string
	for _, name := range slices.Sorted(maps.Keys(placed)) {
		where = append(where, name+" on "+placed[name])
	}
	return ok(check, "There is room, for %s of disk in all: %s.", bytes(disk), strings.Join(where, ", "))
}

// reason is what an error says, without the name of the step that nobody asked for.
func reason(err error) string {
	var f *fault.Error
	if errors.As(err, &f) && f.Err != nil {
		return f.Err.Error()
	}
	return err.Error()
}

// softwareChecks are the comparisons of metadata.Compare, each with what is said when nothing is wrong. Room on the disk is
// judged for all workspaces at once.
var softwareChecks = []struct {
	check string
	fine  func(metadata.Metadata) string
}{
	{"postgres", func(m metadata.Metadata) string {
		return fmt.Sprintf("PostgreSQL %d is there, with what the server uses of it", m.ServerVersion/10000)
	}},
	{"extensions", func(m metadata.Metadata) string { return installed(extensions(m), "extension") }},
	{"libraries", func(m metadata.Metadata) string { return "every shared library that the settings name is there" }},
	{"locales", func(metadata.Metadata) string { return "every locale is there" }},
	{"collations", func(metadata.Metadata) string { return "text sorts as on the primary" }},
	{"memory", func(m metadata.Metadata) string {
		return fmt.Sprintf("shared_buffers of %s fit", cmp.Or(m.Setting("shared_buffers"), "unknown size"))
	}},
}

func extensions(m metadata.Metadata) []string {
	var names []string
	for _, e := range m.Extensions {
		names = append(names, e.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func installed(names []string, what string) string {
	if len(names) == 0 {
		return "no " + what + " is used"
	}
	return strings.Join(names, ", ") + " can be installed"
}

// program is one candidate to run a workspace: an installation of PostgreSQL on a host.
type program struct {
	host  string
	facts metadata.Host
}

// candidates returns the installations on fresh hosts that could run a server of that major version, else all of them.
func (f Facts) candidates(major int) (all []program, unread []string) {
	for _, h := range f.fresh() {
		best := -1
		for i, p := range h.Programs {
			if best < 0 || p.Version/10000 == major {
				best = i
			}
		}
		if best < 0 {
			continue
		}
		facts := metadata.Host{}
		if err := json.Unmarshal(h.Programs[best].Facts, &facts); err != nil {
			unread = append(unread, h.Name)
			continue
		}
		facts.FreeBytes = 0 // judgeCapacity looks at the disk
		all = append(all, program{h.Name, facts})
	}
	return all, unread
}

// judgeSoftware compares the server with every host that it might be placed on. What every host lacks is as bad as metadata
// says; what only some lack is a warning, since another one may be chosen.
func judgeSoftware(f Facts, w *Workspace) []item {
	if w.Metadata == nil {
		return nil // judgeMetadata says why nothing is known of the server
	}
	programs, unread := f.candidates(w.Metadata.ServerVersion / 10000)
	if len(programs) == 0 {
		text := "PostgreSQL, extensions, libraries, locales and memory cannot be compared: no host of %s says what it has"
		if len(unread) > 0 {
			text += " in a form that can be read"
		}
		return []item{warning("Start a worker there, of this version.", "software", text+".", f.To)}
	}
	found := map[string][]found{}
	for _, p := range programs {
		for _, problem := range metadata.Compare(*w.Metadata, p.facts, 0) {
			found[problem.Check] = add(found[problem.Check], problem, p.host)
		}
	}
	var items []item
	for _, c := range softwareChecks {
		if len(found[c.check]) == 0 {
			items = append(items, ok(c.check, "On %s %s.", hostNames(programs), c.fine(*w.Metadata)))
		}
		for _, x := range found[c.check] {
			items = append(items, x.item(len(programs)))
		}
	}
	return items
}

// found is a problem with the hosts that have it.
type found struct {
	metadata.Problem
	hosts []string
}

func add(all []found, p metadata.Problem, host string) []found {
	for i := range all {
		if all[i].Text == p.Text {
			all[i].hosts = append(all[i].hosts, host)
			return all
		}
	}
	return append(all, found{p, []string{host}})
}

func (x found) item(hosts int) item {
	i := warning(x.Todo, x.Check, "%s (%s)", x.Text, strings.Join(x.hosts, ", "))
	if x.Blocking && len(x.hosts) == hosts {
		i.State = topology.ReadinessBlocking
	}
	return i
}

func hostNames(programs []program) string {
	var names []string
	for _, p := range programs {
		names = append(names, p.host)
	}
	return strings.Join(names, ", ")
}
