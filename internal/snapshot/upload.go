package snapshot

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"sync"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// send uploads a pack to its targets in the background. It waits while too many are under way.
func (w *Writer) send(p *pack) {
	select {
	case w.slots <- struct{}{}:
	case <-w.ctx.Done():
		return
	}
	w.uploads.Go(func() {
		w.upload(p)
		w.recycle(p.body)
		<-w.slots
	})
}

// upload puts a pack into each of its targets that is alive, at once.
func (w *Writer) upload(p *pack) {
	sealed := p.seal(w.opts.PageSize)
	var all sync.WaitGroup
	for i, t := range w.opts.Targets {
		if !p.to.has(i) || !w.alive(i) {
			continue
		}
		all.Go(func() {
			err := w.watches[i].Spare(w.ctx, sealed.ID)
			if err == nil {
				err = PutPack(w.ctx, t.Store, w.opts.Group, w.opts.Workspace, sealed)
			}
			if err != nil {
				w.drop(i, err)
				return
			}
			w.stats.sent.Add(sealed.Len())
		})
	}
	all.Wait()
}

// PutPack puts a pack, then its page fingerprints and then its index, unless they are there whole.
//
// For the pack it asks first. A server that finds an object in the way of a conditional write may answer and hang up
// without reading the body; with tens of megabytes under way the writer then sees a broken connection and no answer.
func PutPack(ctx context.Context, store objectstore.Store, group, ws string, s Sealed) error {
	if err := putSized(ctx, store, PackKey(group, ws, s.ID), s.Body); err != nil {
		return err
	}
	if s.Pages != nil {
		if err := putSized(ctx, store, PagesKey(group, ws, s.ID), s.Pages); err != nil {
			return err
		}
	}
	return putIndex(ctx, store, IndexKey(group, ws, s.ID), s.Index)
}

// putSized puts an object unless one of that length is there.
func putSized(ctx context.Context, store objectstore.Store, key string, body []byte) error {
	info, err := store.Head(ctx, key)
	if err != nil && !fault.Is(err, fault.Missing) {
		return err
	}
	if err == nil && info.Size == int64(len(body)) {
		return nil
	}
	_, err = store.Put(ctx, key, body, objectstore.PutOptions{})
	return err
}

// putIndex puts a pack's index. Its name says what is in it, so whoever was first put the same: only if what is there
// was damaged since is it replaced.
func putIndex(ctx context.Context, store objectstore.Store, key string, index []byte) error {
	there, _, err := store.Get(ctx, key)
	if err != nil && !fault.Is(err, fault.Missing) {
		return err
	}
	if err == nil && bytes.Equal(there, index) {
		return nil
	}
	_, err = store.Put(ctx, key, index, objectstore.PutOptions{})
	return err
}

func (w *Writer) recycle(body []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if cap(body) >= w.packCap() && len(w.bodies) < packsInFlight {
		w.bodies = append(w.bodies, body[:0])
	}
}

func (w *Writer) alive(i int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.live.has(i)
}

// drop gives a target up. The last one takes the Writer with it.
func (w *Writer) drop(i int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.live.has(i) {
		return
	}
	w.live &^= 1 << i
	region := w.opts.Targets[i].Region
	w.failed[region] = err
	w.opts.Log.Warn("bucket dropped from the snapshot", "region", region, "err", err)
	if w.live == 0 {
		w.cancel(w.nobodyLeft(err))
	}
}

// nobodyLeft keeps the last error's kind and hint, and all texts.
func (w *Writer) nobodyLeft(last error) error {
	if len(w.failed) == 1 {
		return last
	}
	all := make([]error, 0, len(w.failed))
	for region, err := range w.failed {
		all = append(all, fault.New(fault.KindOf(err), "region "+region, err))
	}
	return (&fault.Error{Kind: fault.KindOf(last), Op: "write snapshot to any bucket", Err: errors.Join(all...)}).
		WithHint("%s", fault.HintOf(last))
}

// Flush waits until everything that was added is stored in every target that is alive then. It fails when none is.
func (w *Writer) Flush() error {
	w.pending.Wait()
	w.mu.Lock()
	rest := w.open
	w.open = map[openKey]*pack{}
	w.mu.Unlock()
	for _, p := range rest {
		w.send(p)
	}
	w.uploads.Wait()
	return context.Cause(w.ctx)
}

// Live returns the targets that hold everything flushed.
func (w *Writer) Live() []Target {
	var out []Target
	for i, t := range w.opts.Targets {
		if w.alive(i) {
			out = append(out, t)
		}
	}
	return out
}

// Failed returns the regions that were dropped, and why.
func (w *Writer) Failed() map[string]error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.failed)
}

// Publish publishes a snapshot in the target of a region that is alive. It is fault.Transient when something that the snapshot needs was condemned
// there since the Writer began: it has to be taken anew.
func (w *Writer) Publish(ctx context.Context, region string, m *Manifest) error {
	for i, t := range w.opts.Targets {
		if t.Region == region && w.watches[i] != nil {
			return w.watches[i].Publish(ctx, m)
		}
	}
	return fault.Newf(fault.Invalid, "publish snapshot", "region %s is not written to", region)
}
