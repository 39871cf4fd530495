package activities

import (
	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/topology"
)

// leftAt returns a lineage's archive as the next lineage of a way must read it: up to the timeline on which that one left. What its
// own server wrote to newer timelines since, and shipped when it came back, is on no way but its own.
func leftAt(a *archive.Archive, way []topology.Lineage, i int) *archive.Archive {
	if i+1 < len(way) && way[i+1].Parent != nil && way[i+1].Parent.Lineage == a.Lineage() {
		return a.UpTo(way[i+1].Parent.At.Timeline)
	}
	return a
}

// lineagesOf returns the lineages of a way.
func lineagesOf(legs []Leg) (way []topology.Lineage) {
	for _, l := range legs {
		way = append(way, l.Lineage)
	}
	return way
}
