package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/retention"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
)

const (
	// packHead is how many bytes a pack has before its first chunk.
	packHead = 8
	// takingSilence is how long whoever takes a snapshot may say nothing before it counts as given up.
	takingSilence = 15 * time.Minute
)

// packs looks at what of packs the list and the indexes tell, and which snapshots that spoils.
func (ws *workspace) packs(ctx context.Context) error {
	needed := ws.neededChunks()
	broken := map[string]bool{}
	for i := range ws.bucket.Packs {
		p := &ws.bucket.Packs[i]
		f := ws.pack(p)
		if f == nil {
			if needed != nil && p.Readable() && !needed(p) {
				ws.needless(p)
			}
			continue
		}
		broken[p.ID] = true
		ws.add(*f)
	}
	return ws.spoiled(ctx, broken, nil)
}

// pack finds what is wrong with a pack; nil for nothing, or nothing that is known yet.
func (ws *workspace) pack(p *retention.Pack) *finding {
	made := func(kind topology.FindingKind, key, what string) *finding {
		return &finding{Finding: topology.Finding{Kind: kind, Workspace: ws.Name, Key: key, What: sentence(what)}}
	}
	g, name := ws.Group.Name, ws.Name
	switch {
	case p.Err != nil:
		return made(topology.FindingAltered, p.Index.Key, "the pack's index is damaged, so that no chunk of it can be found: "+p.Err.Error())
	case p.Index.Key != "" && p.Body.Key == "":
		return made(topology.FindingMissing, snapshot.PackKey(g, name, p.ID), "the pack is not there, and its index is")
	case p.Index.Key == "":
		return ws.withoutIndex(p, made)
	}
	want := int64(packHead)
	for _, e := range p.Entries {
		want += e.Size
	}
	if p.Body.Size != want {
		return made(topology.FindingAltered, p.Body.Key, fmt.Sprintf("the pack has %d bytes instead of %d", p.Body.Size, want))
	}
	return nil
}

// withoutIndex judges a pack without an index: it is left over from a writer that died, unless its index is known to have been there.
func (ws *workspace) withoutIndex(p *retention.Pack, made func(topology.FindingKind, string, string) *finding) *finding {
	key := snapshot.IndexKey(ws.Group.Name, ws.Name, p.ID)
	lacking := ws.lacking()
	if p.Body.Key != "" && (lacking || ws.hasCopy(key)) && ws.old(objectstore.Info{Modified: p.Body.Modified}) {
		return made(topology.FindingMissing, key, "the pack is there, and its index is not, so that no chunk of it can be found")
	}
	for _, o := range p.Objects() {
		if !ws.taking && !lacking {
			ws.orphan(o, "it belongs to a pack that has no index, as whoever was killed while it was stored leaves it")
		}
	}
	return nil
}

// lacking reports whether a snapshot needs chunks that are in no pack which can be read.
func (ws *workspace) lacking() bool {
	return slices.ContainsFunc(ws.bucket.Snapshots, func(s retention.Snapshot) bool { return s.Lacking > 0 })
}

// neededChunks returns what tells whether a snapshot needs something of a pack; nil when that is not known.
func (ws *workspace) neededChunks() func(*retention.Pack) bool {
	var chunks retention.Set
	lacks := func(f finding) bool { return f.Workspace == ws.Name && strings.Contains(f.Key, "/snapshots/") }
	if ws.lacking() || slices.ContainsFunc(ws.findings, lacks) {
		return nil
	}
	for _, s := range ws.bucket.Snapshots {
		chunks.AddAll(s.Chunks)
	}
	all := slices.Clone(chunks)
	for _, p := range ws.bucket.Packs {
		for _, e := range p.Entries {
			if e.Base != retention.NoChunk && chunks.Has(e.Chunk) {
				all.Add(e.Base)
			}
		}
	}
	return func(p *retention.Pack) bool {
		return slices.ContainsFunc(p.Entries, func(e retention.Entry) bool { return all.Has(e.Chunk) })
	}
}

// needless names a pack of which no snapshot needs anything, unless that is known already or a snapshot is being taken.
func (ws *workspace) needless(p *retention.Pack) {
	if ws.taking || ws.condemned().Packs[p.ID] != (snapshot.Condemnation{}) {
		return
	}
	ws.orphan(p.Body, fmt.Sprintf("no manifest needs anything of this pack, %d bytes", p.Body.Size))
}

func (ws *workspace) condemned() (c snapshot.Condemned) {
	ws.peek(context.Background(), snapshot.CondemnedKey(ws.Group.Name, ws.Name), &c)
	return c
}

// spoiled finds out which snapshots a restore fails with, since packs are broken, or, where those are known already, since chunks of packs are bad.
func (ws *workspace) spoiled(ctx context.Context, broken map[string]bool, bad map[string]map[snapshot.Hash]bool) error {
	if len(broken)+len(bad) == 0 && (bad != nil || !ws.lacking()) {
		return nil
	}
	held := newHeld(ws.here)
	for _, s := range ws.bucket.Snapshots {
		if s.Manifest == nil {
			continue
		}
		m, err := snapshot.Load(ctx, ws.here, ws.Group.Name, ws.Name, s.ID)
		if err != nil {
			return err
		}
		if err := ws.spoils(ctx, held, m, broken, bad); err != nil {
			return err
		}
	}
	return nil
}

// spoils notes at the findings about packs that a snapshot needs what they have lost. It looks where a restore would look.
func (ws *workspace) spoils(ctx context.Context, held *held, m *snapshot.Manifest, broken map[string]bool, bad map[string]map[snapshot.Hash]bool) error {
	wanted := m.Wanted()
	parts, err := snapshot.Locate(ctx, held, ws.Group.Name, ws.Name, wanted)
	if err != nil && !fault.Is(err, fault.Missing) && !fault.Is(err, fault.Corrupt) {
		return err
	}
	lost := wanted // Locate leaves what it does not find
	if bad != nil {
		lost = map[snapshot.Hash]struct{}{}
	}
	hurt := map[string]bool{}
	bases := map[snapshot.Hash]bool{}
	for _, p := range parts {
		for _, e := range p.Entries {
			if broken[p.ID] && !ws.indexLost(p.ID) || bad[p.ID][e.Hash] {
				lost[e.Hash], hurt[p.ID], bases[e.Hash] = struct{}{}, true, true
			}
		}
	}
	if len(lost) == 0 {
		return nil
	}
	for _, p := range parts { // deltas whose base is lost
		for _, e := range p.Entries {
			if e.IsDelta() && bases[e.Base] {
				lost[e.Hash] = struct{}{}
			}
		}
	}
	ws.blame(m, lost, hurt, err != nil && bad == nil)
	return nil
}

// indexLost reports whether a pack's chunks cannot even be found.
func (ws *workspace) indexLost(id string) bool {
	i := slices.IndexFunc(ws.bucket.Packs, func(p retention.Pack) bool { return p.ID == id })
	return i < 0 || ws.bucket.Packs[i].Err != nil || ws.bucket.Packs[i].Index.Key == ""
}

// blame adds a snapshot to the findings that spoil it. Chunks that cannot be found may have been in any pack whose index is lost; when there is none the
// pack is gone altogether.
func (ws *workspace) blame(m *snapshot.Manifest, lost map[snapshot.Hash]struct{}, hurt map[string]bool, unfound bool) {
	key := snapshot.ManifestKey(ws.Group.Name, ws.Name, m.ID)
	says := fmt.Sprintf("Snapshot %s cannot be restored: it lacks %s.", m.ID, filesOf(m, lost))
	found := false
	for i := range ws.findings {
		f := &ws.findings[i]
		id := packOf(f.Key)
		if f.Workspace != ws.Name || id == "" || slices.Contains(f.spoils, key) || !hurt[id] && (!unfound || !ws.indexLost(id) || strings.HasSuffix(f.Key, ".pages")) ||
			f.Kind == topology.FindingOrphaned {
			continue
		}
		f.spoils = append(f.spoils, key)
		f.Consequence = append(f.Consequence, says)
		found = true
	}
	if !found {
		ws.add(finding{Finding: topology.Finding{Kind: topology.FindingMissing, Workspace: ws.Name, Key: key, Repair: ws.repairPacks(),
			What:        fmt.Sprintf("%d chunks of snapshot %s, or what their deltas stand on, are in no pack of the bucket.", len(lost), m.ID),
			Consequence: []string{says}}, spoils: []string{key}})
	}
}

// repairPacks names the packs that the other bucket has.
func (ws *workspace) repairPacks() string {
	if ws.other == nil {
		return ""
	}
	var keys []string
	for _, info := range ws.other.prefixed(ws.prefix() + "packs/") {
		if _, here := ws.here.find(info.Key); !here && !strings.HasSuffix(info.Key, ".pages") {
			keys = append(keys, info.Key)
		}
	}
	if len(keys) == 0 {
		return ""
	}
	return fmt.Sprintf("The bucket of %s has packs that this one lacks: copy %s.", ws.elsewhere, few(keys))
}

// packOf returns the pack that a key belongs to, or "".
func packOf(key string) string {
	_, name, ok := strings.Cut(key, "/packs/")
	id, _, dot := strings.Cut(name, ".")
	if !ok || !dot {
		return ""
	}
	return id
}

// filesOf names the files of a snapshot that have some of the chunks.
func filesOf(m *snapshot.Manifest, lost map[snapshot.Hash]struct{}) string {
	names := map[uint32]string{}
	for _, d := range m.Databases {
		names[d.OID] = d.Name
	}
	var files []string
	for i := range m.Files {
		f := &m.Files[i]
		if !slices.ContainsFunc(f.Chunks, func(h snapshot.Hash) bool { _, is := lost[h]; return is }) {
			continue
		}
		text := f.Path
		if name := names[snapshot.DatabaseOf(f.Path)]; name != "" {
			text += " (database " + name + ")"
		}
		files = append(files, text)
	}
	return "content of " + few(files)
}
