package retention

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// account adds a workspace to what the round says of itself, before anything is removed.
func (r *round) account(b *Bucket, m Marks, v Verdict) {
	count := func(kind string, o Object, goes bool) {
		to := r.swept.Kept
		if goes {
			to = r.swept.Gone
		}
		to[kind] = to[kind].Add(o.Size)
	}
	for _, s := range b.Snapshots {
		count(topology.SweptManifests, s.Object, !m.Keys[s.Key] && r.old(s.Object))
	}
	eachWAL(b, func(o Object) { count(topology.SweptWAL, o, !m.Keys[o.Key] && r.old(o)) })
	for _, o := range b.Missing {
		count(topology.SweptOther, o.Object, !m.Keys[o.Object.Key] && r.old(o.Object))
	}
	for _, o := range b.Leftovers {
		count(topology.SweptOther, o, r.old(o))
	}
	r.accountPacks(b, v, count)
	for _, p := range v.Repack {
		r.swept.Anew = r.swept.Anew.Add(p.Dead)
	}
	r.swept.Workspaces = append(r.swept.Workspaces, r.workspaceAccount(b, m))
}

func (r *round) accountPacks(b *Bucket, v Verdict, count func(kind string, o Object, goes bool)) {
	going := map[string]bool{}
	for _, p := range v.Going {
		going[p.ID] = true
	}
	for i := range b.Packs {
		p := &b.Packs[i]
		later := v.List.Holds(p.ID) && !going[p.ID]
		for _, o := range p.Objects() {
			if later {
				r.swept.Later = r.swept.Later.Add(o.Size)
			} else {
				count(topology.SweptPacks, o, going[p.ID])
			}
		}
	}
}

// unknownShown is how many keys are named that nobody knows.
const unknownShown = 20

func (r *round) workspaceAccount(b *Bucket, m Marks) topology.SweptWorkspace {
	w := topology.SweptWorkspace{Workspace: r.workspace, Notes: r.notes}
	if m.First != nil {
		w.From, w.Snapshot = m.First.Manifest.CompletedAt, m.First.ID
	}
	for _, o := range b.Unknown[:min(len(b.Unknown), unknownShown)] {
		w.Unknown = append(w.Unknown, o.Key)
	}
	if len(b.Unknown) > 0 {
		w.Notes = append(w.Notes, fmt.Sprintf("%d objects are not of a layout that this version knows, and stay.", len(b.Unknown)))
	}
	if len(m.Unknown) > 0 {
		w.Notes = append(w.Notes, fmt.Sprintf("Snapshots that cannot be read stay, and all packs with them: %s.", strings.Join(m.Unknown, ", ")))
	}
	if m.Lacking {
		w.Notes = append(w.Notes, "Chunks of a snapshot are in no pack that can be read: `smartdr verify` says which files that concerns.")
	}
	return w
}

// copyOf returns a group that may be changed without the other one.
func copyOf(g topology.Group) (c topology.Group, err error) {
	b, err := json.Marshal(g)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return c, fault.New(fault.Invalid, "copy group", err)
	}
	return c, nil
}
