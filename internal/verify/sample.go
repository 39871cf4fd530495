package verify

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/retention"
	"github.com/smartdr/smartdr/internal/topology"
)

const (
	// sampleOf is one in how many of the objects that are not the newest a sample has.
	sampleOf = 100
	// newestSegments of each lineage, and newestPacks of each workspace, are in every sample: nobody has ever read them.
	newestSegments = 8
	newestPacks    = 4
)

// chosen returns which objects of a workspace are read back.
func (r *reader) chosen(ws *workspace) func(key string) bool {
	if r.Read == topology.VerifyAll {
		return func(string) bool { return true }
	}
	newest := ws.newest()
	return func(key string) bool {
		return newest[key] || drawn(r.Seed, key)
	}
}

// drawn decides about a key by the seed alone, so that a check that goes on elsewhere draws the same ones.
func drawn(seed uint64, key string) bool {
	h := seed
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211 // FNV-1a
	}
	return rand.New(rand.NewPCG(seed, h)).IntN(sampleOf) == 0
}

// newest are the objects that a failover would read last or first: the last segments, and what the newest snapshot has brought.
func (ws *workspace) newest() map[string]bool {
	keys := map[string]bool{}
	for _, l := range ws.lineages {
		last := slices.SortedFunc(slices.Values(l.entries), func(a, b archive.Entry) int { return cmp.Compare(b.Range.End, a.Range.End) })
		for _, e := range last[:min(len(last), newestSegments)] {
			keys[e.Key] = true
		}
	}
	packs := slices.SortedFunc(slices.Values(ws.bucket.Packs), func(a, b retention.Pack) int { return b.Body.Modified.Compare(a.Body.Modified) })
	for _, p := range packs[:min(len(packs), newestPacks)] {
		keys[p.Body.Key] = true
	}
	return keys
}
