package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/retention"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// backward is WAL before the fork of a system-managed database: transactions that were open there may have written it, and committed where the
// lineage that serves does not go.
type backward struct {
	of       string // name of the system-managed database
	lineage  topology.Lineage
	from, to wal.LSN
}

// backwards returns what of such WAL this bucket is known to have had.
func (ws *workspace) backwards() (all []backward) {
	for _, sm := range ws.Group.SystemManaged {
		if sm.Workspace != ws.Name || !sm.Back[ws.Region] {
			continue
		}
		line := ws.Group.Ancestry(ws.Name, sm.Lineage)
		for i, l := range line {
			b := backward{of: sm.Name, lineage: l, from: max(l.SegmentSize.Start(sm.Needs), l.Start.LSN), to: sm.Fork.LSN}
			if i+1 < len(line) {
				b.to = line[i+1].Parent.At.LSN
			}
			if b.from < b.to {
				all = append(all, b)
			}
		}
	}
	return all
}

// lacksBackward finds holes in such WAL of a lineage, before a position from which on all of its WAL is looked at.
func (ws *workspace) lacksBackward(l *lineage, before wal.LSN) {
	for _, b := range ws.backwards() {
		if b.lineage.ID != l.ID {
			continue
		}
		to := min(b.to, before)
		for from := b.from; from < to; {
			c := archive.Path(ws.entriesOf(l), l.line(), from)
			if c.End.LSN >= to {
				break
			}
			if from = to; c.Beyond != 0 {
				from = min(to, c.Beyond)
			}
			ws.hole(l, c.End, from, "a transaction may have written it that was open where "+b.of+" was left")
		}
	}
}

// entriesOf are all objects of a lineage, with those that are damaged, and those that were found missing.
func (ws *workspace) entriesOf(l *lineage) []archive.Entry {
	all := slices.Clone(l.entries)
	for _, s := range l.listed.Segments {
		if ws.unread[s.Key] {
			all = append(all, archive.Entry{Timeline: s.Timeline, Range: s.Range, Size: s.Size, Key: s.Key})
		}
	}
	for _, o := range ws.beside {
		if e, ok := l.archive.Parse(o.info); ok {
			all = append(all, e)
		}
	}
	return all
}

// blind says which system-managed databases' missing rows cannot be found by WAL without some objects.
func (ws *workspace) blind(keys []string) (names []string) {
	for _, b := range ws.backwards() {
		l := ws.known(b.lineage)
		entries := slices.DeleteFunc(ws.entriesOf(l), func(e archive.Entry) bool { return slices.Contains(keys, e.Key) })
		if archive.Path(entries, l.line(), b.from).End.LSN < b.to && !slices.Contains(names, b.of) {
			names = append(names, b.of)
		}
	}
	return names
}

// known returns what the bucket has of a lineage that it ought to have something of.
func (ws *workspace) known(l topology.Lineage) *lineage {
	if there := ws.lineages[l.ID]; there != nil {
		return there
	}
	return &lineage{Lineage: l, archive: archive.Open(ws.here, ws.Group.Name, ws.Name, l.ID), heads: map[string]head{}, listed: &retention.Lineage{}}
}

func comparedWhole(names []string) string {
	return fmt.Sprintf("With this bucket, missing rows of %s are found by comparing tables as a whole.", strings.Join(names, ", "))
}
