package topology

import (
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/smartdr/smartdr/internal/fault"
)

var placeNow = time.Unix(100_000, 0)

func testHost(name string, gib int64, cpus float64, diskGiB int64) Host {
	return Host{Name: name, AnnouncedAt: placeNow, MemoryBytes: gib << 30, CPUs: cpus, DiskBytes: diskGiB << 30,
		Programs: []Program{{Version: 150018}, {Version: 180004}}}
}

func sized(workspace string, gib int64, cpus float64, diskGiB int64) Need {
	return Need{Group: "prod", Workspace: workspace, Size: Size{MemoryBytes: gib << 30, CPUs: cpus}, DiskBytes: diskGiB << 30, Major: 18}
}

func TestPlace(t *testing.T) {
	a, b := testHost("a", 32, 8, 100), testHost("b", 64, 16, 500)
	stale := testHost("c", 1024, 128, 5000)
	stale.AnnouncedAt = placeNow.Add(-HostStaleAfter - time.Second)
	full := a
	full.Placed = []Placed{{Group: "other", Workspace: "w", Size: Size{MemoryBytes: 20 << 30, CPUs: 2}}}
	own := a
	own.Placed = []Placed{{Group: "prod", Workspace: "w", Size: Size{MemoryBytes: 20 << 30, CPUs: 2}}}
	spare := a
	spare.Placed = []Placed{{Group: "prod", Workspace: "w", Spare: 150 << 30}}
	crowded := b
	crowded.Placed = []Placed{{Group: "x", Workspace: "1"}, {Group: "x", Workspace: "2"}}
	disk := func(w string) Need { return Need{Group: "prod", Workspace: w, DiskBytes: 1 << 30} }
	for name, c := range map[string]struct {
		needs []Need
		hosts []Host
		want  map[string]string
	}{
		"the first that has room":           {[]Need{sized("w", 16, 4, 1)}, []Host{b, a}, map[string]string{"w": "a"}},
		"beside what is there":              {[]Need{sized("w", 16, 4, 1)}, []Host{full, b}, map[string]string{"w": "b"}},
		"in the place of itself":            {[]Need{sized("w", 16, 4, 1)}, []Host{own, b}, map[string]string{"w": "a"}},
		"largest first":                     {[]Need{sized("s", 30, 1, 1), sized("l", 64, 1, 1)}, []Host{a, b}, map[string]string{"s": "a", "l": "b"}},
		"of equals by name":                 {[]Need{sized("w", 20, 1, 1), sized("v", 20, 1, 1)}, []Host{a, b}, map[string]string{"v": "a", "w": "b"}},
		"by disk":                           {[]Need{sized("w", 1, 1, 200)}, []Host{a, b}, map[string]string{"w": "b"}},
		"by CPUs":                           {[]Need{sized("w", 1, 10, 1)}, []Host{a, b}, map[string]string{"w": "b"}},
		"disk alone is spread":              {[]Need{disk("v"), disk("w"), disk("x")}, []Host{a, b}, map[string]string{"v": "b", "w": "a", "x": "b"}},
		"disk alone goes where few are":     {[]Need{disk("v"), disk("w"), disk("x")}, []Host{a, crowded}, map[string]string{"v": "a", "w": "a", "x": "b"}},
		"where its own files make way":      {[]Need{sized("w", 1, 1, 200)}, []Host{spare}, map[string]string{"w": "a"}},
		"not where it was refused":          {[]Need{{Workspace: "w", Without: []string{"a"}}}, []Host{a, b}, map[string]string{"w": "b"}},
		"not on one that is stale":          {[]Need{sized("w", 1, 1, 1)}, []Host{stale, b}, map[string]string{"w": "b"}},
		"goes back where first fit is none": {[]Need{sized("x", 32, 1, 1), sized("y", 30, 8, 1)}, []Host{testHost("a", 32, 8, 9), testHost("b", 32, 4, 9)}, map[string]string{"x": "b", "y": "a"}},
	} {
		got, err := Place(c.needs, c.hosts, placeNow)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestPlaceRefusesWithASentence(t *testing.T) {
	a, b := testHost("a", 32, 2, 100), testHost("b", 8, 16, 500)
	stale := a
	stale.AnnouncedAt = placeNow.Add(-4 * time.Minute)
	seventeen := sized("w", 1, 1, 1)
	seventeen.Major = 17
	for name, c := range map[string]struct {
		needs []Need
		hosts []Host
		says  []string
	}{
		"memory":       {[]Need{sized("big", 64, 16, 10)}, []Host{a, b}, []string{"workspace big is larger than any host", "64GiB of memory, 16 CPUs and 10GiB of disk", "32GiB of memory (a), 16 CPUs (b) and 500GiB of disk (b)"}},
		"not on one":   {[]Need{sized("w", 16, 4, 1)}, []Host{a, b}, []string{"larger than any host"}},
		"not all":      {[]Need{sized("v", 20, 1, 1), sized("w", 20, 1, 1)}, []Host{a, b}, []string{"beside the others workspace w", "20GiB"}},
		"disk":         {[]Need{{Workspace: "w", DiskBytes: 600 << 30}}, []Host{a, b}, []string{"needs 600GiB of disk"}},
		"no program":   {[]Need{seventeen}, []Host{a, b}, []string{"workspace w needs PostgreSQL 17", "a has 15, 18"}},
		"nobody":       {[]Need{sized("w", 1, 1, 1)}, nil, []string{"no host has announced itself"}},
		"nobody fresh": {[]Need{sized("w", 1, 1, 1)}, []Host{stale}, []string{"a was last heard of 4m0s ago"}},
	} {
		_, err := Place(c.needs, c.hosts, placeNow)
		if !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v, hint %q", name, err, fault.HintOf(err))
			continue
		}
		for _, says := range c.says {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %q does not say %q", name, err, says)
			}
		}
	}
}

func drawHosts(t *rapid.T) []Host {
	var hosts []Host
	for i := range rapid.IntRange(1, 5).Draw(t, "hosts") {
		h := Host{Name: fmt.Sprintf("h%d", i), AnnouncedAt: placeNow.Add(-time.Duration(rapid.IntRange(0, 300).Draw(t, "age")) * time.Second)}
		h.MemoryBytes, h.CPUs = rapid.Int64Range(0, 64).Draw(t, "memory"), float64(rapid.IntRange(0, 16).Draw(t, "cpus"))
		h.DiskBytes = rapid.Int64Range(0, 100).Draw(t, "disk")
		for _, major := range rapid.SliceOfN(rapid.IntRange(15, 17), 0, 3).Draw(t, "majors") {
			h.Programs = append(h.Programs, Program{Version: major * 10000})
		}
		for range rapid.IntRange(0, 3).Draw(t, "placed") {
			h.Placed = append(h.Placed, Placed{Group: "g", Workspace: rapid.SampledFrom([]string{"w0", "w1", "other"}).Draw(t, "there"), Size: drawSize(t)})
		}
		hosts = append(hosts, h)
	}
	return hosts
}

func drawSize(t *rapid.T) Size {
	if rapid.Bool().Draw(t, "sized") {
		return Size{MemoryBytes: rapid.Int64Range(1, 40).Draw(t, "memory"), CPUs: float64(rapid.IntRange(1, 8).Draw(t, "cpus"))}
	}
	return Size{}
}

func drawNeeds(t *rapid.T) []Need {
	var needs []Need
	for i := range rapid.IntRange(1, 6).Draw(t, "needs") {
		needs = append(needs, Need{Group: "g", Workspace: fmt.Sprintf("w%d", i), Size: drawSize(t),
			DiskBytes: rapid.Int64Range(0, 60).Draw(t, "disk"), Major: rapid.SampledFrom([]int{0, 15, 16, 17}).Draw(t, "major")})
	}
	return needs
}

// left computes what a host has left in another way than Place does: amount by amount.
func left(h Host, needs []Need, placed map[string]string) (memory int64, cpus float64, disk int64) {
	memory, cpus, disk = h.MemoryBytes, h.CPUs, h.DiskBytes
	for _, p := range h.Placed {
		if p.Group == "g" && slices.ContainsFunc(needs, func(n Need) bool { return n.Workspace == p.Workspace }) {
			continue
		}
		memory -= p.Size.MemoryBytes
		cpus -= p.Size.CPUs
	}
	for _, n := range needs {
		if placed[n.Workspace] == h.Name {
			memory -= n.Size.MemoryBytes
			cpus -= n.Size.CPUs
			disk -= n.DiskBytes
		}
	}
	return memory, cpus, disk
}

func TestPlaceNeverOvercommits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hosts, needs := drawHosts(t), drawNeeds(t)
		placed, err := Place(needs, hosts, placeNow)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
			return
		}
		for _, n := range needs {
			at := slices.IndexFunc(hosts, func(h Host) bool { return h.Name == placed[n.Workspace] })
			if at < 0 || placeNow.Sub(hosts[at].AnnouncedAt) > HostStaleAfter {
				t.Fatalf("%s is on %q", n.Workspace, placed[n.Workspace])
			}
			h := hosts[at]
			if n.Major != 0 && !slices.ContainsFunc(h.Programs, func(p Program) bool { return p.Version/10000 == n.Major }) {
				t.Fatalf("%s needs PostgreSQL %d, and %s has none", n.Workspace, n.Major, h.Name)
			}
			memory, cpus, disk := left(h, needs, placed)
			if disk < 0 || n.Size.MemoryBytes > 0 && memory < 0 || n.Size.CPUs > 0 && cpus < 0 {
				t.Fatalf("%s is overcommitted: %d, %v, %d", h.Name, memory, cpus, disk)
			}
		}
	})
}

func TestPlaceFindsAPlaceForOneIfThereIsOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hosts, needs := drawHosts(t), drawNeeds(t)[:1]
		n := needs[0]
		possible := slices.ContainsFunc(hosts, func(h Host) bool {
			memory, cpus, disk := left(h, needs, nil)
			return placeNow.Sub(h.AnnouncedAt) <= HostStaleAfter && disk >= n.DiskBytes &&
				(n.Size.IsZero() || memory >= n.Size.MemoryBytes && cpus >= n.Size.CPUs) &&
				(n.Major == 0 || slices.ContainsFunc(h.Programs, func(p Program) bool { return p.Version/10000 == n.Major }))
		})
		if _, err := Place(needs, hosts, placeNow); (err == nil) != possible {
			t.Fatalf("possible: %v, got %v", possible, err)
		}
	})
}

func TestPlaceDependsOnItsArgumentsAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hosts, needs := drawHosts(t), drawNeeds(t)
		first, err1 := Place(needs, hosts, placeNow)
		r := rand.New(rand.NewSource(rapid.Int64().Draw(t, "seed")))
		r.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
		r.Shuffle(len(needs), func(i, j int) { needs[i], needs[j] = needs[j], needs[i] })
		second, err2 := Place(needs, hosts, placeNow)
		if !maps.Equal(first, second) || (err1 == nil) != (err2 == nil) {
			t.Fatalf("%v, %v and then %v, %v", first, err1, second, err2)
		}
	})
}
