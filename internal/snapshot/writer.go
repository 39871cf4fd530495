package snapshot

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// Target is a bucket that a Writer writes to.
type Target struct {
	Region string
	Store  objectstore.Store // the region's root store
}

// WriterOptions say where chunks go.
type WriterOptions struct {
	Group     string
	Workspace string
	Targets   []Target // at most 8
	Parallel  int      // goroutines that hash and compress; 0 means one for each processor
	PackSize  int      // bytes at which a pack is closed; 0 means 64 MiB
	PageSize  int      // of the server, in bytes; 0 means 8 KiB
	Log       *slog.Logger
}

// packsInFlight is how many full packs wait for their upload or are under way. With those being filled, normally one
// large and one small, a Writer needs about 64 MiB * (packsInFlight + 2). Several at a time because one connection
// to a distant bucket is slow.
const packsInFlight = 3

// Writer stores chunks in several buckets at once, each chunk once. A bucket that fails is dropped and the others go on.
// What a bucket holds already, from this workspace's other snapshots and lineages or from a writer that died, it is not
// sent again. Add and Flush belong to one goroutine.
type Writer struct {
	opts   WriterOptions
	enc    *zstd.Encoder
	tight  *zstd.Encoder // for deltas, which are small, and compress badly
	print  *printer
	ctx    context.Context // of the uploads; done when Close was called or every target failed
	cancel context.CancelCauseFunc

	jobs    chan job
	workers sync.WaitGroup
	pending sync.WaitGroup // jobs
	uploads sync.WaitGroup
	slots   chan struct{} // one for each pack in flight
	buffers chan *[]byte  // of chunks

	known   *known
	prints  *fingerprints
	watches []*Watch // by target; nil for one that was dropped at once

	mu     sync.Mutex
	live   targets
	failed map[string]error
	open   map[openKey]*pack
	bodies [][]byte // of packs that were sent, to be used again

	stats stats
}

type openKey struct {
	class Class
	to    targets
}

type job struct {
	buf    *[]byte
	class  Class
	before Hash
	out    *Hash
}

type stats struct{ zero, shared, raw, delta, sent atomic.Int64 }

// Stats are sums over what was added. Delta is raw, of chunks of which only the changed pages were stored; Sent is compressed and counts
// every target.
type Stats struct{ ZeroBytes, SharedBytes, RawBytes, DeltaBytes, SentBytes int64 }

// NewWriter reads what the buckets hold. It fails when no bucket answers; one that does not is dropped. ctx governs the
// uploads too. Close must be called.
func NewWriter(ctx context.Context, opts WriterOptions) (*Writer, error) {
	if len(opts.Targets) == 0 || len(opts.Targets) > 8 {
		return nil, fault.Newf(fault.Invalid, "write snapshot", "%d buckets; want 1 to 8", len(opts.Targets))
	}
	if opts.Parallel <= 0 {
		opts.Parallel = runtime.GOMAXPROCS(0)
	}
	if opts.PackSize <= 0 {
		opts.PackSize = packTarget
	}
	if opts.PageSize <= 0 {
		opts.PageSize = defaultPage
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	w := &Writer{
		opts: opts, enc: newEncoder(opts.Parallel), tight: newTightEncoder(opts.Parallel), print: newPrinter(),
		jobs: make(chan job), slots: make(chan struct{}, packsInFlight), buffers: make(chan *[]byte, 2*opts.Parallel+2),
		known: newKnown(), watches: make([]*Watch, len(opts.Targets)),
		live: 1<<len(opts.Targets) - 1, failed: map[string]error{}, open: map[openKey]*pack{},
	}
	w.prints = &fingerprints{read: w.readPrints, log: opts.Log, packs: map[string]*packPrints{}}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	if err := w.readKnown(); err != nil {
		w.cancel(err)
		return nil, err
	}
	w.start()
	return w, nil
}

func (w *Writer) start() {
	for range cap(w.buffers) {
		b := make([]byte, ChunkSize)
		w.buffers <- &b
	}
	for range w.opts.Parallel {
		w.workers.Go(func() {
			var s scratch
			for j := range w.jobs {
				w.store(j, &s)
				b := (*j.buf)[:ChunkSize]
				*j.buf = b
				w.buffers <- j.buf
				w.pending.Done()
			}
		})
	}
}

// Close ends the Writer. What was not flushed is given up.
func (w *Writer) Close() {
	w.cancel(context.Canceled)
	close(w.jobs)
	w.workers.Wait()
	w.uploads.Wait()
	w.enc.Close()
	w.tight.Close()
}

// Buffer returns one of ChunkSize bytes, to be filled and given to Add. It waits while all are in use.
func (w *Writer) Buffer() (*[]byte, error) {
	select {
	case b := <-w.buffers:
		return b, nil
	case <-w.ctx.Done():
		return nil, context.Cause(w.ctx)
	}
}

// Add stores the chunk in buf, a buffer from Buffer cut to the chunk's length, and writes its name to out. That has
// happened when Flush returns, and not before. before names the chunk that was at the same place in the last snapshot, if that is known:
// when most pages are as they were there, only the others are stored.
func (w *Writer) Add(buf *[]byte, class Class, before Hash, out *Hash) error {
	w.pending.Add(1)
	select {
	case w.jobs <- job{buf, class, before, out}:
		return nil
	case <-w.ctx.Done():
		w.pending.Done()
		return context.Cause(w.ctx)
	}
}

// scratch are buffers of one goroutine that stores chunks.
type scratch struct{ raw, compressed, record []byte }

// store hashes, looks up, compresses and packs one chunk.
func (w *Writer) store(j job, s *scratch) {
	chunk := *j.buf
	h := HashOf(chunk)
	*j.out = h
	w.stats.raw.Add(int64(len(chunk)))
	if h.IsZero() {
		w.stats.zero.Add(int64(len(chunk)))
		return
	}
	to := w.known.claim(h, w.liveTargets())
	if to == 0 {
		w.stats.shared.Add(int64(len(chunk)))
		return
	}
	if to &^= w.storeDelta(j.before, h, chunk, to, s); to != 0 {
		w.storeWhole(j.class, h, chunk, to, s)
	}
}

func (w *Writer) storeWhole(class Class, h Hash, chunk []byte, to targets, s *scratch) {
	s.compressed = w.enc.EncodeAll(chunk, s.compressed[:0])
	s.record = w.print.appendRecord(s.record[:0], h, chunk, w.opts.PageSize)
	w.pack(openKey{class, to}, Entry{Hash: h, Raw: uint32(len(chunk))}, s.compressed, s.record)
}

// storeDelta stores a chunk as its difference from the one that was there before, in those of to that have what is needed, which it returns. It
// stores none when more than half of the pages are others, or when the delta takes more than half of what its base does: then the
// chunk is worth being a base itself.
func (w *Writer) storeDelta(before, h Hash, chunk []byte, to targets, s *scratch) targets {
	b, ok := w.known.baseFor(before, to)
	if !ok {
		return 0
	}
	old, ok := w.prints.of(w.ctx, b)
	if !ok {
		return 0
	}
	changed := old.changed(chunk)
	if 2*changed.count() > pageCount(len(chunk), old.page) {
		return 0
	}
	s.raw = appendDelta(s.raw[:0], chunk, old.page, changed)
	s.compressed = w.tight.EncodeAll(s.raw, s.compressed[:0])
	if 2*len(s.compressed) > int(b.size) {
		return 0
	}
	w.known.addDelta(h, b, len(s.compressed))
	w.stats.delta.Add(int64(len(chunk)))
	w.pack(openKey{difference, b.at}, Entry{Hash: h, Raw: uint32(len(chunk)), Base: b.hash}, s.compressed, nil)
	return b.at
}

func (w *Writer) liveTargets() targets {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.live
}

// FormatOf returns the format number that a manifest of these files must have.
func (w *Writer) FormatOf(files []File) int {
	for i := range files {
		for _, h := range files[i].Chunks {
			if w.known.onlyAsDelta(h) {
				return DeltaFormat
			}
		}
	}
	return Format
}

// pack adds the stored form of a chunk to the open pack of its kind, and sends the pack if that made it full.
func (w *Writer) pack(k openKey, e Entry, stored, record []byte) {
	if full := w.addToPack(k, e, stored, record); full != nil {
		w.send(full)
	}
}

func (w *Writer) addToPack(k openKey, e Entry, stored, record []byte) *pack {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.open[k]
	if p == nil {
		p = newPack(k.to, w.body(k.class))
		w.open[k] = p
	}
	p.add(e, stored)
	p.records = append(p.records, record...)
	if len(p.body) < w.opts.PackSize {
		return nil
	}
	delete(w.open, k)
	return p
}

// body returns a buffer for a pack; mu is held. Those of essentials and of deltas rarely fill, and grow as needed.
func (w *Writer) body(c Class) []byte {
	if n := len(w.bodies); n > 0 {
		b := w.bodies[n-1]
		w.bodies = w.bodies[:n-1]
		return b
	}
	if c != Bulk {
		return nil
	}
	return make([]byte, 0, w.packCap())
}

// packCap is the capacity of a pack's buffer: a chunk may be added when the target size is nearly reached, and one that
// does not compress grows by a few bytes.
func (w *Writer) packCap() int { return w.opts.PackSize + ChunkSize + 4096 }

// Stats returns the sums so far.
func (w *Writer) Stats() Stats {
	return Stats{w.stats.zero.Load(), w.stats.shared.Load(), w.stats.raw.Load(), w.stats.delta.Load(), w.stats.sent.Load()}
}
