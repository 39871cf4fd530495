package retention

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// left names a place where a lineage was left.
type left struct {
	lineage string
	fork    wal.LSN
}

// need is what was found out of one.
type need struct {
	from wal.LSN
	here bool // the bucket has WAL back to there
}

// needs finds out, once for each place where a lineage of the workspace was left, from where on WAL is needed to find rows that are missing on the
// other side. What cannot be found out now is left for the next round, and so is the WAL. A bucket that was found to lack some, or not to tell, is
// looked at again once the other one has told from where on it is needed: it may have as much, and get it later.
func (r *round) needs(ctx context.Context, g topology.Group) (map[left]need, error) {
	found := map[left]need{}
	for _, sm := range g.SystemManaged {
		at := left{sm.Lineage, sm.Fork.LSN}
		_, asked := found[at]
		here, looked := sm.Back[r.Region]
		if sm.Workspace != r.workspace || r.Needed == nil || r.DryRun || asked || here || looked && sm.Needs == 0 {
			continue
		}
		r.Say("look how far back transactions go that were open where " + sm.Lineage + " was left")
		from, err := r.Needed(ctx, &g, sm)
		switch {
		case err == nil:
			found[at] = need{from, true}
		case ctx.Err() != nil:
			return nil, err
		case fault.Is(err, fault.Missing), fault.Is(err, fault.Corrupt):
			found[at] = need{from: sm.Needs}
		case looked:
			r.Log.WarnContext(ctx, "whether the bucket has now what it lacked was not found out", "group", g.Name, "region", r.Region, "of", sm.Name, "error", err)
		default:
			r.Log.WarnContext(ctx, "from where WAL is needed to find missing rows was not found out", "group", g.Name, "region", r.Region, "of", sm.Name, "error", err)
			r.notes = append(r.notes, fmt.Sprintf("From where WAL is needed to find missing rows of %s was not found out, and all of it stays: %s.", sm.Name, err))
		}
	}
	return found, nil
}

// noteNeeds writes what was found out into a group's document.
func (r *round) noteNeeds(g *topology.Group, found map[left]need) {
	for i := range g.SystemManaged {
		sm := &g.SystemManaged[i]
		n, ok := found[left{sm.Lineage, sm.Fork.LSN}]
		if !ok || sm.Workspace != r.workspace {
			continue
		}
		back := maps.Clone(sm.Back)
		if back == nil {
			back = map[string]bool{}
		}
		back[r.Region] = back[r.Region] || n.here
		sm.Needs, sm.Back = max(sm.Needs, n.from), back
	}
}

// expired says of which system-managed databases WAL is gone that would be needed.
func (r *round) expired(g *topology.Group) (notes []string) {
	for _, sm := range g.SystemManaged {
		if here, looked := sm.Back[r.Region]; sm.Workspace == r.workspace && looked && !here {
			notes = append(notes, fmt.Sprintf("Of transactions that were open when %s was left some WAL was removed from this bucket before: with what it has, missing rows are found by comparing tables as a whole.", sm.Name))
		}
	}
	slices.Sort(notes)
	return notes
}

// back keeps WAL before a fork, as far back as transactions go that were open there; all that there is while nobody knows how far that is.
func (k *marker) back(sm topology.SystemManaged) {
	if here, looked := sm.Back[k.region]; looked && !here {
		return
	}
	for _, part := range wayTo(k.g, k.workspace, sm.Lineage, sm.Fork) {
		if part.to > sm.Needs {
			k.wal(part, part.lineage.SegmentSize.Start(sm.Needs))
		}
	}
}
