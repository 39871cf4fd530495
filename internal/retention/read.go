package retention

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// manifestsRead is how many manifests are read at a time. One of a terabyte has some tens of megabytes.
const manifestsRead = 4

// Read lists what a bucket holds of a workspace, and reads the manifests, pack indexes and history files. Damaged ones are no error. What
// arrives meanwhile may be missing.
func Read(ctx context.Context, store objectstore.Store, group, workspace string) (*Bucket, error) {
	r := &reader{store: store, group: group, workspace: workspace, b: &Bucket{Lineages: map[string]*Lineage{}},
		packs: map[string]*Pack{}, numbers: map[snapshot.Hash]Chunk{}}
	if err := r.list(ctx); err != nil {
		return nil, err
	}
	if err := r.histories(ctx); err != nil {
		return nil, err
	}
	if err := r.indexes(ctx); err != nil {
		return nil, err
	}
	return r.b, r.manifests(ctx)
}

type reader struct {
	store            objectstore.Store
	group, workspace string
	b                *Bucket
	packs            map[string]*Pack
	numbers          map[snapshot.Hash]Chunk // of chunks in readable packs
	usable           Set                     // of those: whole, or with a base that is
}

func (r *reader) list(ctx context.Context) error {
	prefix := snapshot.Prefix(r.group, r.workspace)
	var contents []Object
	for info, err := range r.store.List(ctx, prefix, "") {
		if err != nil {
			return err
		}
		o := Object{info.Key, info.Size, info.Modified}
		if name := strings.TrimPrefix(info.Key, prefix); content.MatchString(name) {
			contents = append(contents, o)
		} else if !r.sort(o, name, info) {
			r.b.Unknown = append(r.b.Unknown, o)
		}
	}
	return r.leftovers(ctx, contents)
}

// The small documents of a workspace (docs/format.md).
var (
	document = regexp.MustCompile(`^(progress/(wal|snapshot|standby)|metadata|inventory|condemned|(fences|tails)/\d{4,}-[0-9a-f]{8})\.json$`)
	content  = regexp.MustCompile(`^inventory/\d{8}-[0-9a-f]{64}\.json\.zst$`)
	packFile = regexp.MustCompile(`^packs/([0-9a-f]{32})\.(pack|idx|pages)$`)
	manifest = regexp.MustCompile(`^snapshots/(\d{8}T\d{6}Z-[0-9a-f]{4})/manifest$`)
)

// sort puts an object where it belongs; false for one that is not of the known layout.
func (r *reader) sort(o Object, name string, info objectstore.Info) bool {
	if document.MatchString(name) {
		r.b.Documents++
		return true
	}
	if m := manifest.FindStringSubmatch(name); m != nil {
		r.b.Snapshots = append(r.b.Snapshots, Snapshot{Object: o, ID: m[1]})
		return true
	}
	if m := packFile.FindStringSubmatch(name); m != nil {
		r.pack(m[1], m[2], o)
		return true
	}
	return r.missing(o, name) || r.wal(o, name, info)
}

func (r *reader) pack(id, kind string, o Object) {
	p := r.packs[id]
	if p == nil {
		p = &Pack{ID: id}
		r.packs[id] = p
	}
	switch kind {
	case "idx":
		p.Index = o
	case "pages":
		p.Pages = o
	default:
		p.Body = o
	}
}

func (r *reader) wal(o Object, name string, info objectstore.Info) bool {
	rest, is := strings.CutPrefix(name, "wal/")
	id, _, deep := strings.Cut(rest, "/")
	if _, err := topology.ParseLineageID(id); !is || !deep || err != nil {
		return false
	}
	a := archive.Open(r.store, r.group, r.workspace, id)
	l := r.b.Lineages[id]
	if l == nil {
		l = &Lineage{Histories: map[wal.Timeline]History{}}
	}
	if e, ok := a.Parse(info); ok {
		l.Segments = append(l.Segments, Segment{o, e.Timeline, e.Range})
	} else if t, ok := a.ParseHistory(info.Key); ok {
		l.Histories[t] = History{Object: o}
	} else {
		return false
	}
	r.b.Lineages[id] = l
	return true
}

// leftovers finds which contents of inventories no document names any more.
func (r *reader) leftovers(ctx context.Context, contents []Object) error {
	if len(contents) < 2 {
		r.b.Documents += len(contents)
		return nil
	}
	b, _, err := r.store.Get(ctx, snapshot.Prefix(r.group, r.workspace)+"inventory.json")
	if err != nil && !fault.Is(err, fault.Missing) {
		return err
	}
	for _, o := range contents {
		digest := o.Key[strings.LastIndexByte(o.Key, '-')+1 : len(o.Key)-len(".json.zst")]
		if err != nil || strings.Contains(string(b), digest) {
			r.b.Documents++
			continue
		}
		r.b.Leftovers = append(r.b.Leftovers, o)
	}
	return nil
}

// histories reads the history files. Without one nobody knows which timelines a lineage goes through, so a damaged one is an error.
func (r *reader) histories(ctx context.Context) error {
	for _, l := range r.b.Lineages {
		for t, h := range l.Histories {
			b, _, err := r.store.Get(ctx, h.Key)
			if err != nil {
				return err
			}
			if h.Parsed, err = wal.ParseHistory(b); err != nil {
				return fault.New(fault.Corrupt, "read "+h.Key, err).WithHint("Nothing of workspace %s is removed while it is damaged. Copy it from the other bucket.", r.workspace)
			}
			l.Histories[t] = h
		}
	}
	return nil
}

func (r *reader) indexes(ctx context.Context) error {
	if len(r.packs) == 0 {
		return nil
	}
	var whole Set
	err := snapshot.EachIndex(ctx, r.store, r.group, r.workspace, func(x snapshot.Index) {
		p := r.packs[x.ID]
		if p == nil {
			return // it came after the list
		}
		if p.Err = x.Err; p.Err == nil && p.Readable() {
			r.entries(p, x.Entries, &whole)
		}
	})
	if err != nil {
		return err
	}
	for _, p := range r.packs {
		r.b.Packs = append(r.b.Packs, *p)
		for _, e := range p.Entries {
			if e.Base == NoChunk || whole.Has(e.Base) {
				r.usable.Add(e.Chunk)
			}
		}
	}
	slices.SortFunc(r.b.Packs, func(a, b Pack) int { return strings.Compare(a.ID, b.ID) })
	return nil
}

func (r *reader) entries(p *Pack, entries []snapshot.Entry, whole *Set) {
	for _, e := range entries {
		n := Entry{Chunk: r.number(e.Hash), Base: NoChunk, Size: int64(e.Size)}
		if e.IsDelta() {
			n.Base = r.number(e.Base)
		} else {
			whole.Add(n.Chunk)
		}
		p.Entries = append(p.Entries, n)
	}
}

func (r *reader) number(h snapshot.Hash) Chunk {
	n, known := r.numbers[h]
	if !known {
		n = Chunk(len(r.numbers))
		r.numbers[h] = n
	}
	return n
}

func (r *reader) manifests(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(manifestsRead)
	var gone sync.Map // of snapshots that were there when the bucket was listed
	for i := range r.b.Snapshots {
		s := &r.b.Snapshots[i]
		g.Go(func() error {
			m, err := snapshot.Load(ctx, r.store, r.group, r.workspace, s.ID)
			switch {
			case fault.Is(err, fault.Missing):
				gone.Store(s.ID, true)
			case fault.Is(err, fault.Corrupt), fault.Is(err, fault.Invalid):
				s.Err = err
			case err != nil:
				return err
			default:
				r.look(s, m)
			}
			return nil
		})
	}
	err := g.Wait()
	r.b.Snapshots = slices.DeleteFunc(r.b.Snapshots, func(s Snapshot) bool {
		_, is := gone.Load(s.ID)
		return is
	})
	return err
}

// look notes what a snapshot is made of. It only reads what r knows of chunks.
func (r *reader) look(s *Snapshot, m *snapshot.Manifest) {
	for h := range m.Wanted() {
		if n, known := r.numbers[h]; known && r.usable.Has(n) {
			s.Chunks.Add(n)
		} else {
			s.Lacking++
		}
	}
	head := *m
	head.Files = nil
	s.Manifest = &head
}
