package retention

import (
	"context"
	"fmt"
	"slices"

	"github.com/smartdr/smartdr/internal/snapshot"
)

// batch is how many objects are deleted between two looks whether it is still ours to delete them.
const batch = 500

// remove deletes in an order in which nothing ever refers to what is gone.
func (r *round) remove(ctx context.Context, b *Bucket, m Marks, v Verdict) error {
	manifests, rest := r.needless(b, m)
	for _, objects := range [][]Object{manifests, rest} {
		if err := r.delete(ctx, objects); err != nil {
			return err
		}
	}
	for _, p := range v.Going {
		if err := r.delete(ctx, p.Objects()); err != nil {
			return err
		}
	}
	if err := r.strike(ctx, v); err != nil {
		return err
	}
	for _, p := range v.Repack {
		if err := r.check(ctx); err != nil {
			return err
		}
		r.Say("write pack " + p.ID + " anew")
		if _, err := snapshot.Repack(ctx, r.Store, r.Group, r.workspace, p.ID, p.Keep); err != nil {
			return err
		}
	}
	return nil
}

// strike takes the packs off the list that are gone.
func (r *round) strike(ctx context.Context, v Verdict) error {
	if len(v.Going) == 0 {
		return nil
	}
	list := snapshot.Condemned{Packs: map[string]snapshot.Condemnation{}}
	for id, c := range r.list.Packs {
		if !slices.ContainsFunc(v.Going, func(p Pack) bool { return p.ID == id }) {
			list.Packs[id] = c
		}
	}
	return r.replace(ctx, list)
}

// needless returns the manifests, and then the WAL and the rest, that nothing needs and that are old enough.
func (r *round) needless(b *Bucket, m Marks) (manifests, rest []Object) {
	for _, s := range b.Snapshots {
		if !m.Keys[s.Key] && r.old(s.Object) {
			manifests = append(manifests, s.Object)
		}
	}
	eachWAL(b, func(o Object) {
		if !m.Keys[o.Key] && r.old(o) {
			rest = append(rest, o)
		}
	})
	for _, o := range b.Missing {
		if !m.Keys[o.Object.Key] && r.old(o.Object) {
			rest = append(rest, o.Object)
		}
	}
	for _, o := range b.Leftovers {
		if r.old(o) {
			rest = append(rest, o)
		}
	}
	return manifests, rest
}

// eachWAL visits segments before history files: without the latter nobody knows what the former are.
func eachWAL(b *Bucket, visit func(Object)) {
	for _, l := range b.Lineages {
		for _, s := range l.Segments {
			visit(s.Object)
		}
	}
	for _, l := range b.Lineages {
		for _, h := range l.Histories {
			visit(h.Object)
		}
	}
}

func (r *round) old(o Object) bool { return !o.Modified.After(r.now.Add(-r.Grace)) }

// delete removes objects as long as that is ours to do.
func (r *round) delete(ctx context.Context, objects []Object) error {
	for part := range slices.Chunk(objects, batch) {
		if err := r.check(ctx); err != nil {
			return err
		}
		keys := make([]string, len(part))
		for i, o := range part {
			keys[i] = o.Key
		}
		r.Say(fmt.Sprintf("remove %d objects of %s", len(keys), r.workspace))
		if err := r.Store.Delete(ctx, keys...); err != nil {
			return err
		}
		r.Log.InfoContext(ctx, "removed what nothing needs", "group", r.Group, "workspace", r.workspace, "region", r.Region, "objects", len(keys), "first", keys[0])
	}
	return nil
}
