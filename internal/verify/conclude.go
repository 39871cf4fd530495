package verify

import (
	"cmp"
	"context"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
)

// followed is of how many findings of a workspace it is found out what follows from each alone, which takes a look at all of its WAL.
const followed = 200

// findingsListed bounds the account: a bucket of which everything is gone is told in its losses.
const findingsListed = 1000

// altered turns what reading back has found into findings.
func (w *walk) altered(ctx context.Context, bad []Altered) error {
	chunks := map[string]map[string]map[snapshot.Hash]bool{} // by workspace and pack
	for _, a := range bad {
		if _, there := w.here.find(a.Key); !there || slices.ContainsFunc(w.findings, func(f finding) bool { return f.Key == a.Key }) {
			continue
		}
		name := workspaceOf(a.Key)
		f := finding{Finding: topology.Finding{Kind: topology.FindingAltered, Workspace: name, Key: a.Key, What: sentence(a.What)}}
		switch id := packOf(a.Key); {
		case strings.HasSuffix(a.Key, ".pages"):
			f.Severity, f.Repair = topology.SeverityNote, "Remove it."
			f.Consequence = []string{"Nothing is lost; the next snapshots store more than what has changed of these chunks."}
		case id != "":
			if chunks[name] == nil {
				chunks[name] = map[string]map[snapshot.Hash]bool{}
			}
			chunks[name][id] = hashes(a.Chunks)
		case documentOfPart(a.Key) != nil:
			f = documentOfPart(a.Key).finding(topology.FindingAltered, a.Key, a.What)
		default:
			f.hides = []string{a.Key}
		}
		w.add(f)
	}
	for _, ws := range w.workspaces {
		for _, f := range w.findings {
			if f.Workspace == ws.Name && len(f.hides) > 0 && f.Kind != topology.FindingMissing {
				ws.unread[f.Key] = true
			}
		}
		if bad := chunks[ws.Name]; bad != nil {
			if err := ws.spoiled(ctx, nil, bad); err != nil {
				return err
			}
		}
	}
	return nil
}

func hashes(names []string) map[snapshot.Hash]bool {
	all := map[snapshot.Hash]bool{}
	for _, n := range names {
		var h snapshot.Hash
		if _, err := hex.Decode(h[:], []byte(n)); err == nil {
			all[h] = true
		}
	}
	return all
}

// conclude says what follows from every finding and from all of them.
func (w *walk) conclude(ctx context.Context, v *topology.Verified) error {
	for _, ws := range w.workspaces {
		lost, err := ws.consequences(ctx)
		if err != nil {
			return err
		}
		v.Lost = append(v.Lost, lost...)
	}
	for _, f := range w.findings {
		if f.Key == w.prefix()+"group.json" && f.Kind != topology.FindingInconsistent {
			v.Lost = append(v.Lost, topology.Lost{Of: topology.LossGroup, Text: documents[0].lost})
		}
		v.Findings = append(v.Findings, f.Finding)
	}
	slices.SortStableFunc(v.Findings, func(a, b topology.Finding) int {
		return cmp.Or(cmp.Compare(rank(a.Severity), rank(b.Severity)), cmp.Compare(a.Key, b.Key))
	})
	if n := len(v.Findings) - findingsListed; n > 0 {
		v.Findings, v.More = v.Findings[:findingsListed], n
	}
	for _, info := range w.here.keys {
		v.Objects, v.Bytes = v.Objects+1, v.Bytes+info.Size
	}
	v.Notes = w.notes
	return nil
}

func rank(s topology.Severity) int {
	return slices.Index([]topology.Severity{topology.SeverityLost, topology.SeverityDamaged, topology.SeverityNote}, s)
}

// consequences finds out what cannot be restored because of each finding, and because of all.
func (ws *workspace) consequences(ctx context.Context) ([]topology.Lost, error) {
	own := func(f *finding) bool {
		return f.Workspace == ws.Name && (len(f.hides)+len(f.spoils) > 0 || f.Severity == "")
	}
	var mine []*finding
	for i := range ws.findings {
		if own(&ws.findings[i]) {
			mine = append(mine, &ws.findings[i])
		}
	}
	if len(mine) == 0 {
		return nil, nil
	}
	p, err := ws.possible(ctx)
	if err != nil {
		return nil, err
	}
	var all []string
	for i, f := range mine {
		if i == followed {
			break
		}
		keys := append(slices.Clone(f.spoils), ws.asThingsAre(f)...)
		all = append(all, keys...)
		ws.follow(f, p, keys)
	}
	for _, f := range mine[min(len(mine), followed):] {
		all = append(all, append(slices.Clone(f.spoils), f.hides...)...)
		f.Severity = topology.SeverityLost
		f.Consequence = append(f.Consequence, "There are so many findings that what follows from this one alone was not looked at: what is lost altogether is told.")
	}
	return p.without(all...), nil
}

// follow says what follows from one finding.
func (ws *workspace) follow(f *finding, p *possible, keys []string) {
	lost, blind := p.without(keys...), ws.blind(keys)
	for _, l := range lost {
		f.Consequence = append(f.Consequence, l.Text)
	}
	switch {
	case len(lost) > 0:
		f.Severity = topology.SeverityLost
		if f.Kind != topology.FindingMissing && len(p.without(f.hides...)) == 0 && len(f.hides) > 0 {
			f.Repair = "Remove it: other objects hold the same."
		}
	case len(f.spoils) > 0:
		f.Severity = topology.SeverityDamaged
		f.Consequence = append(f.Consequence, "No moment is lost: an older snapshot and the WAL behind it lead to the same ones, which takes longer.")
	case len(blind) > 0:
		f.Severity = topology.SeverityDamaged
		f.Consequence = append(f.Consequence, "No moment is lost.")
	case packOf(f.Key) != "":
		f.Severity = topology.SeverityDamaged
		f.Consequence = append(f.Consequence, "Nothing is lost: no snapshot needs what it has lost, or another pack holds the same.")
	case strings.Contains(f.Key, "/snapshots/"):
		f.Severity = topology.SeverityDamaged
		f.Consequence = append(f.Consequence, "No moment is lost: an older snapshot and the WAL behind it lead to the same ones, which takes longer.")
	default:
		f.Severity = topology.SeverityDamaged
		f.Consequence = append(f.Consequence, "Nothing is lost: another object holds the same, or nothing that is kept needs it.")
	}
	if len(blind) > 0 {
		f.Consequence = append(f.Consequence, comparedWhole(blind))
	}
}

// asThingsAre returns what a finding makes useless as long as it is there. A reader that has chosen a damaged segment by its key fails, whatever others
// hold; so everything that holds a byte of what he wants from it is of no use.
func (ws *workspace) asThingsAre(f *finding) []string {
	keys := slices.Clone(f.hides)
	if f.Kind == topology.FindingMissing {
		return keys
	}
	for _, l := range ws.lineages {
		var entries []archive.Entry
		for _, s := range l.listed.Segments {
			entries = append(entries, archive.Entry{Timeline: s.Timeline, Range: s.Range, Size: s.Size, Key: s.Key})
		}
		if !slices.ContainsFunc(entries, func(e archive.Entry) bool { return e.Key == f.Key }) {
			continue
		}
		for _, step := range ws.steps(l, entries) {
			if step.Entry.Key != f.Key {
				continue
			}
			for _, e := range entries {
				if e.Timeline == step.Entry.Timeline && e.Range.Start < step.Use.End && step.Use.Start < e.Range.End {
					keys = append(keys, e.Key)
				}
			}
		}
	}
	return keys
}

// steps are the objects that a reader of a lineage takes, over all holes.
func (ws *workspace) steps(l *lineage, entries []archive.Entry) (steps []archive.Step) {
	line := l.line()
	for from := l.Start.LSN; ; {
		c := archive.Path(entries, line, from)
		steps = append(steps, c.Steps...)
		if c.Beyond == 0 {
			return steps
		}
		from = c.Beyond
	}
}
