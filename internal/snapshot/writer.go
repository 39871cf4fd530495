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
	ctx    context.Context // of the uploads; done when Close was called or every target failed
	cancel context.CancelCauseFunc

	jobs    chan job
	workers sync.WaitGroup
	pending sync.WaitGroup // jobs
	uploads sync.WaitGroup
	slots   chan struct{} // one for each pack in flight
	buffers chan *[]byte  // of chunks

	mu     sync.Mutex
	live   targets
	failed map[string]error
	known  map[Hash]targets // that hold a chunk, or will
	open   map[openKey]*pack
	bodies [][]byte // of packs that were sent, to be used again

	stats stats
}

type openKey struct {
	class Class
	to    targets
}

type job struct {
	buf   *[]byte
	class Class
	out   *Hash
}

type stats struct{ zero, shared, raw, sent atomic.Int64 }

// Stats are sums over what was added. Sent is compressed and counts every target.
type Stats struct{ ZeroBytes, SharedBytes, RawBytes, SentBytes int64 }

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
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	w := &Writer{
		opts: opts, enc: newEncoder(opts.Parallel),
		jobs: make(chan job), slots: make(chan struct{}, packsInFlight), buffers: make(chan *[]byte, 2*opts.Parallel+2),
		live: 1<<len(opts.Targets) - 1, failed: map[string]error{}, known: map[Hash]targets{}, open: map[openKey]*pack{},
	}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	if err := w.readKnown(); err != nil {
		w.cancel(err)
		return nil, err
	}
	w.start()
	return w, nil
}

// readKnown fills known from the indexes in all buckets.
func (w *Writer) readKnown() error {
	var all sync.WaitGroup
	for i, t := range w.opts.Targets {
		all.Go(func() {
			err := EachIndex(w.ctx, t.Store, w.opts.Group, w.opts.Workspace, func(p Index) { w.learn(i, p) })
			if err != nil {
				w.drop(i, err)
			}
		})
	}
	all.Wait()
	return context.Cause(w.ctx)
}

func (w *Writer) learn(target int, p Index) {
	if p.Err != nil { // its chunks are stored anew, which heals it
		w.opts.Log.Warn("damaged pack index", "region", w.opts.Targets[target].Region, "err", p.Err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range p.Entries {
		w.known[e.Hash] |= 1 << target
	}
}

func (w *Writer) start() {
	for range cap(w.buffers) {
		b := make([]byte, ChunkSize)
		w.buffers <- &b
	}
	for range w.opts.Parallel {
		w.workers.Go(func() {
			var scratch []byte
			for j := range w.jobs {
				scratch = w.store(j, scratch)
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
// happened when Flush returns, and not before.
func (w *Writer) Add(buf *[]byte, class Class, out *Hash) error {
	w.pending.Add(1)
	select {
	case w.jobs <- job{buf, class, out}:
		return nil
	case <-w.ctx.Done():
		w.pending.Done()
		return context.Cause(w.ctx)
	}
}

// store hashes, looks up, compresses and packs one chunk. scratch is a buffer for the compressed form.
func (w *Writer) store(j job, scratch []byte) []byte {
	chunk := *j.buf
	h := HashOf(chunk)
	*j.out = h
	w.stats.raw.Add(int64(len(chunk)))
	if h.IsZero() {
		w.stats.zero.Add(int64(len(chunk)))
		return scratch
	}
	to := w.claim(h)
	if to == 0 {
		w.stats.shared.Add(int64(len(chunk)))
		return scratch
	}
	scratch = w.enc.EncodeAll(chunk, scratch[:0])
	if full := w.pack(openKey{j.class, to}, h, scratch, len(chunk)); full != nil {
		w.send(full)
	}
	return scratch
}

// claim returns the targets that the caller must store the chunk in.
func (w *Writer) claim(h Hash) targets {
	w.mu.Lock()
	defer w.mu.Unlock()
	to := w.live &^ w.known[h]
	if to != 0 {
		w.known[h] |= to
	}
	return to
}

// pack adds a chunk to the open pack of its kind, and returns the pack if that made it full.
func (w *Writer) pack(k openKey, h Hash, compressed []byte, raw int) *pack {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.open[k]
	if p == nil {
		p = newPack(k.to, w.body(k.class))
		w.open[k] = p
	}
	p.add(h, compressed, raw)
	if len(p.body) < w.opts.PackSize {
		return nil
	}
	delete(w.open, k)
	return p
}

// body returns a buffer for a pack; mu is held. The essential ones rarely fill, and grow as needed.
func (w *Writer) body(c Class) []byte {
	if n := len(w.bodies); n > 0 {
		b := w.bodies[n-1]
		w.bodies = w.bodies[:n-1]
		return b
	}
	if c == Essential {
		return nil
	}
	return make([]byte, 0, w.packCap())
}

// packCap is the capacity of a pack's buffer: a chunk may be added when the target size is nearly reached, and one that
// does not compress grows by a few bytes.
func (w *Writer) packCap() int { return w.opts.PackSize + ChunkSize + 4096 }

// Stats returns the sums so far.
func (w *Writer) Stats() Stats {
	return Stats{w.stats.zero.Load(), w.stats.shared.Load(), w.stats.raw.Load(), w.stats.sent.Load()}
}
