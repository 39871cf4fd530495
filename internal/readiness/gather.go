package readiness

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// patience is how long one question may take: the whole check is made every few minutes, and by people who wait.
const patience = 15 * time.Second

// gather asks everything at once, after it knows which buckets answer at all.
func gather(ctx context.Context, in Inputs, g topology.Group) Facts {
	f := Facts{Now: in.Now(), Group: g, From: in.From}
	if g.Replication == nil || g.Secondary == "" {
		return f
	}
	f.To = g.Other(g.Active)
	f.Buckets = map[string]Bucket{}
	copies := in.Catalog.Copies(ctx, &g)
	f.Now = in.Now()
	var wg sync.WaitGroup
	var buckets sync.Mutex
	for region, c := range copies {
		wg.Go(func() {
			b := in.bucket(ctx, &g, region, Bucket{Copy: c})
			buckets.Lock()
			defer buckets.Unlock()
			f.Buckets[region] = b
		})
	}
	lost := silent(copies[f.To].Err)
	wg.Go(func() { f.Hosts, f.HostsErr = in.hosts(ctx, f.To, lost) })
	wg.Go(func() { f.Operations, f.OpsErr = in.Catalog.Operations(ctx, g.Name) })
	wg.Go(func() { f.Temporal = ask(ctx, in.Temporal) })
	var found []*Workspace
	for _, w := range g.Workspaces {
		if w.Recoverable() {
			there := &Workspace{Workspace: w}
			found = append(found, there)
			wg.Go(func() { in.workspace(ctx, &f, there, lost) })
		}
	}
	wg.Wait()
	for _, w := range found {
		f.Workspaces = append(f.Workspaces, *w)
	}
	return f
}

// silent drops the error of a bucket that answers and merely does not know the group.
func silent(err error) error {
	if fault.Is(err, fault.Missing) {
		return nil
	}
	return err
}

func ask(ctx context.Context, question func(context.Context) error) Answer {
	if question == nil {
		return Answer{}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return Answer{Asked: true, Err: question(ctx)}
}

func (in Inputs) hosts(ctx context.Context, region string, lost error) ([]topology.Host, error) {
	if lost != nil {
		return nil, lost
	}
	return in.Catalog.Hosts(ctx, region)
}

func (in Inputs) bucket(ctx context.Context, g *topology.Group, region string, b Bucket) Bucket {
	if b.StampsErr = silent(b.Err); b.StampsErr != nil {
		return b
	}
	b.Stamps, b.StampsErr = in.Catalog.Stamps(ctx, g, region)
	if in.Write {
		b.Wrote.Asked = true
		b.Ours, b.Wrote.Err = in.probe(ctx, region)
	}
	return b
}

// probe writes a small object and removes it: it shows that these keys may, and what the bucket's clock says.
func (in Inputs) probe(ctx context.Context, region string) (*catalog.Stamp, error) {
	s, err := in.store(region)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	key := "check/" + rand.Text()
	said := in.Now()
	if _, err := s.Put(ctx, key, []byte("1"), objectstore.PutOptions{IfAbsent: true}); err != nil {
		return nil, err
	}
	info, err := s.Head(ctx, key)
	if err != nil {
		return nil, err
	}
	return &catalog.Stamp{Writer: "this host", Said: said, Stored: info.Modified}, s.Delete(ctx, key)
}

func (in Inputs) store(region string) (objectstore.Store, error) {
	if s := in.Stores[region]; s != nil {
		return s, nil
	}
	return nil, fault.Newf(fault.Invalid, "find bucket", "region %q is not in the configuration", region).
		WithHint("Add it under regions in smartdr.yaml, with its bucket.")
}

// workspace fills in w. What was announced is read before the objects are listed, so that these can only reach further.
func (in Inputs) workspace(ctx context.Context, f *Facts, w *Workspace, lost error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	group := f.Group.Name
	if p, err := in.Catalog.WALProgress(ctx, group, w.Name); err == nil {
		w.WAL = &p
	} else if !fault.Is(err, fault.Missing) {
		w.WALErr = err
	}
	if p, err := in.Catalog.SnapshotProgress(ctx, group, w.Name); err == nil {
		w.Taking = &p
	}
	w.MetadataErr = in.metadata(ctx, group, w)
	if at, err := in.Catalog.InventoryCapturedAt(ctx, group, w.Name); err == nil {
		w.InventoryAt = at
	} else if !fault.Is(err, fault.Missing) {
		w.MetadataErr = cmp.Or(w.MetadataErr, err)
	}
	store, err := in.store(f.To)
	if lost != nil {
		err = lost
	}
	if err != nil {
		w.SnapshotErr, w.ChainErr = err, err
		return
	}
	var line []topology.Lineage
	line, w.SnapshotErr = w.newestSnapshot(ctx, store, group)
	if w.Snapshot != nil {
		w.Chain, w.ChainErr = w.chain(ctx, store, group, line)
	}
}

func (in Inputs) metadata(ctx context.Context, group string, w *Workspace) error {
	m, err := in.Catalog.Metadata(ctx, group, w.Name)
	if fault.Is(err, fault.Missing) {
		return nil
	}
	if err != nil {
		return err
	}
	w.CapturedAt, w.Metadata = m.CapturedAt, &metadata.Metadata{}
	if err := json.Unmarshal(m.Server, w.Metadata); err != nil {
		w.Metadata = nil
		return fault.New(fault.Corrupt, "read metadata of "+w.Name, err)
	}
	return nil
}

// newestSnapshot finds the newest published snapshot from which WAL leads to the current lineage, and the lineages from
// there on.
func (w *Workspace) newestSnapshot(ctx context.Context, s objectstore.Store, group string) ([]topology.Lineage, error) {
	all, err := snapshot.List(ctx, s, group, w.Name)
	line := w.ancestry()
	for i := len(all) - 1; i >= 0; i-- {
		for at, l := range line {
			last := at+1 == len(line)
			if all[i].Lineage == l.ID && (last || all[i].End.LSN <= line[at+1].Parent.At.LSN) {
				w.Snapshot = all[i]
				return line[at:], err
			}
		}
	}
	return nil, err
}

// ancestry returns the current lineage after those that it forked from, the oldest first.
func (w *Workspace) ancestry() []topology.Lineage {
	var line []topology.Lineage
	for l := w.CurrentLineage(); l != nil; {
		line = append([]topology.Lineage{*l}, line...)
		if l.Parent == nil || len(line) > len(w.Lineages) {
			break
		}
		l = w.FindLineage(l.Parent.Lineage)
	}
	return line
}

// chain follows the WAL from the snapshot to its end, by keys alone save for the last object: what is in the others is
// verified when it is restored.
func (w *Workspace) chain(ctx context.Context, s objectstore.Store, group string, line []topology.Lineage) (Chain, error) {
	from := w.Snapshot.SegmentSize.Start(w.Snapshot.Start.LSN)
	c := Chain{From: from}
	for i, l := range line {
		if i > 0 {
			from = l.Start.LSN
		}
		a := archive.Open(s, group, w.Name, l.ID)
		if i+1 < len(line) { // its own server may have gone to a newer timeline since
			a = a.UpTo(line[i+1].Parent.At.Timeline)
		}
		tip, err := a.TipFrom(ctx, l, from)
		if err != nil {
			return c, err
		}
		c.Tip, c.Beyond, c.Objects = tip.Position, tip.Beyond, c.Objects+len(tip.Chain.Steps)
		if i+1 < len(line) && tip.Position.LSN < line[i+1].Parent.At.LSN {
			c.Missing = fmt.Sprintf("WAL of lineage %s from %s to %s", l.ID, tip.Position.LSN, line[i+1].Parent.At.LSN)
			return c, nil
		}
	}
	return c, nil
}

// announced returns what the shipper of the current lineage said of a region's bucket, or nil.
func (w *Workspace) announced(region string) *topology.Cursor {
	if w.WAL == nil || w.WAL.Lineage != w.Lineage {
		return nil
	}
	return w.WAL.Cursor(region)
}

// end is where the shipper said that region's bucket ends; 0 when it said nothing.
func (w *Workspace) end(region string) wal.LSN {
	if c := w.announced(region); c != nil {
		return c.Point.At.LSN
	}
	return 0
}
