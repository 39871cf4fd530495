package retention_test

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// need is a snapshot and the WAL behind it, up to where it is of use to somebody.
type need struct {
	*snapshot.Manifest
	to wal.LSN
}

// documents are the small ones that docs/format.md says are always there, relative to the group's prefix.
var documents = regexp.MustCompile(`^(group|protection|readiness|stored|(usage|retention|verify|branches|epochs|operations)/.*)\.?(json)?$|` +
	`^workspaces/main/(progress/(wal|snapshot|standby)|metadata|inventory|condemned)\.json$|^workspaces/main/inventory/\d{8}-[0-9a-f]{64}\.json\.zst$`)

var (
	segmentKey  = regexp.MustCompile(`^workspaces/main/wal/[^/]+/[0-9A-Fa-f]{8}/([0-9A-Fa-f]{16})-([0-9A-Fa-f]{16})\.seg$`)
	manifestKey = regexp.MustCompile(`^workspaces/main/snapshots/([^/]+)/manifest$`)
	packKey     = regexp.MustCompile(`^workspaces/main/packs/([0-9a-f]{32})\.(pack|idx|pages)$`)
)

// checkReached checks that each object of a bucket is a known document, or is on the way to a point that is kept: of the window of the only lineage that
// there is, or of a branch.
func (l *live) checkReached(region string) {
	l.Helper()
	g := l.status().Group
	if n := len(g.Workspaces[0].Lineages); n != 1 {
		l.Fatalf("there are %d lineages: this check knows of one", n)
	}
	needs := l.needs(g, region)
	packs := l.packsOf(region, needs)
	prefix, count := "groups/"+liveGroup+"/", map[string]int{}
	for info, err := range l.stores[region].List(l.Context(), prefix, "") {
		must(l.T, err)
		key := strings.TrimPrefix(info.Key, prefix)
		kind, reached := reaches(key, needs, packs)
		if count[kind]++; !reached {
			l.Errorf("in the bucket of %s nothing needs %s", region, info.Key)
		}
	}
	l.Logf("the bucket of %s holds %v", region, count)
	if count["segment"] == 0 || count["pack"] == 0 || count["manifest"] == 0 {
		l.Errorf("the bucket of %s lacks what everything is restored from: %v", region, count)
	}
}

func reaches(key string, needs []need, packs map[string]bool) (kind string, reached bool) {
	if m := manifestKey.FindStringSubmatch(key); m != nil {
		for _, n := range needs {
			reached = reached || n.ID == m[1]
		}
		return "manifest", reached
	}
	if m := packKey.FindStringSubmatch(key); m != nil {
		return "pack", packs[m[1]]
	}
	if m := segmentKey.FindStringSubmatch(key); m != nil {
		from, _ := strconv.ParseUint(m[1], 16, 64)
		to, _ := strconv.ParseUint(m[2], 16, 64)
		for _, n := range needs {
			reached = reached || wal.LSN(to) > n.SegmentSize.Start(n.Start.LSN) && wal.LSN(from) < n.to
		}
		return "segment", reached
	}
	return "document", documents.MatchString(key)
}

// needs are what leads to the window and to the branches: of each the newest snapshot at or before its first point, and of the window
// all that are in it.
func (l *live) needs(g topology.Group, region string) (needs []need) {
	l.Helper()
	all, err := snapshot.List(l.Context(), l.stores[region], liveGroup, liveSpace)
	must(l.T, err)
	const end = wal.LSN(1<<64 - 1)
	before := func(at, to wal.LSN) {
		var newest *snapshot.Manifest
		for _, m := range all {
			if m.End.LSN <= at && (newest == nil || m.End.LSN > newest.End.LSN) {
				newest = m
			}
		}
		if newest == nil {
			l.Fatalf("in the bucket of %s no snapshot leads to %s", region, at)
		}
		needs = append(needs, need{newest, to})
	}
	w := g.Workspaces[0]
	floor := w.Floor(region, w.Lineage)
	if floor == 0 {
		l.Fatalf("no floor was raised in %s", region)
	}
	before(floor, end)
	for _, m := range all {
		if m.End.LSN > floor {
			needs = append(needs, need{m, end})
		}
	}
	for _, b := range g.Branches {
		if b.Region == region {
			before(b.Base.At.LSN, b.Base.At.LSN)
		}
	}
	return needs
}

// packsOf are the packs that hold a chunk of the snapshots, or what one of these is a delta of.
func (l *live) packsOf(region string, needs []need) map[string]bool {
	l.Helper()
	wanted := map[snapshot.Hash]bool{}
	for _, n := range needs {
		m, err := snapshot.Load(l.Context(), l.stores[region], liveGroup, liveSpace, n.ID)
		must(l.T, err)
		for h := range m.Wanted() {
			wanted[h] = true
		}
	}
	var all []snapshot.Index
	must(l.T, snapshot.EachIndex(l.Context(), l.stores[region], liveGroup, liveSpace, func(x snapshot.Index) { all = append(all, x) }))
	for _, x := range all {
		must(l.T, x.Err)
		for _, e := range x.Entries {
			if wanted[e.Hash] && e.IsDelta() {
				wanted[e.Base] = true
			}
		}
	}
	packs := map[string]bool{}
	for _, x := range all {
		for _, e := range x.Entries {
			packs[x.ID] = packs[x.ID] || wanted[e.Hash]
		}
	}
	return packs
}
