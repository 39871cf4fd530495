package ship

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// buffers is how many chunks may be under way between the server and the board: one that fills, one that is hashed, two
// that are compressed.
const buffers = 4

// leg streams one timeline, from where the buckets end to the timeline's end. It outlives connections: what was received
// and is not stored yet stays. When the timeline ends, or the server has moved to another one, the leg ends and the next
// begins from the buckets.
type leg struct {
	w         *shipper
	ctx       context.Context // of the cursors; its cause says why they ended
	timeline  wal.Timeline
	line      archive.Line
	histories map[wal.Timeline][]byte
	board     *board
	cut       *cutter
	seal      *sealer
	cursors   []*cursor
	tips      []*archive.Tip
	first     firstBytes
	silent    []string      // regions whose bucket did not say where it stands
	heard     atomic.Int64  // unix nanoseconds of the last moment at which everything flushed had been received
	blocked   atomic.Int64  // unix nanoseconds since when reading waits for room, or 0
	status    chan struct{} // asks for a status update
}

// firstBytes is what of a new timeline's first segment file comes from the timeline before: it is streamed again, and
// must be what was stored.
type firstBytes struct {
	from   wal.LSN // the start of the segment file
	until  wal.LSN // the first byte that is the new timeline's own
	before *archive.Digest
	want   archive.Sum
}

// newLeg prepares to go on from the furthest bucket's tip.
func (s *shipper) newLeg(ctx context.Context, t tips) (*leg, error) {
	tip := t.furthest()
	at := tip.Position.LSN
	l := &leg{w: s, timeline: tip.Position.Timeline, line: tip.Line, histories: tip.Histories, tips: t.all, silent: t.silent,
		cut: newCutter(at, s.CutSize, buffers), status: make(chan struct{}, 1)}
	l.board = newBoard(len(s.Destinations), at, max(s.Memory-buffers*s.CutSize, s.CutSize), time.Now())
	var err error
	if l.seal, err = s.newSealer(ctx, tip, s.archive(t.best)); err != nil {
		return nil, err
	}
	if l.first, err = s.firstBytes(ctx, tip, s.archive(t.best)); err != nil {
		return nil, err
	}
	for i, d := range s.Destinations {
		m := &merger{archive: s.archive(i), cell: s.CutSize, log: s.Log.With("region", d.Region)}
		l.cursors = append(l.cursors, &cursor{i: i, region: d.Region, archive: s.archive(i), board: l.board, leg: l, merge: m, log: s.Log})
		if t.all[i] != nil {
			for _, step := range t.all[i].Chain.Steps {
				m.add(step.Entry)
			}
		}
	}
	return l, nil
}

// newSealer continues the tip's digest, and its scan from the last record boundary on.
func (s *shipper) newSealer(ctx context.Context, tip *archive.Tip, a *archive.Archive) (*sealer, error) {
	d, err := archive.ResumeDigest(tip.State)
	if err != nil {
		return nil, fault.New(fault.Corrupt, "resume the chain", err)
	}
	q := &sealer{digest: d, record: tip.RecordEnd, commit: tip.LastCommit, log: s.Log,
		template: archive.Header{Group: s.Group, Workspace: s.Workspace, Lineage: s.Lineage.ID, Epoch: s.Epoch,
			SystemID: s.Lineage.SystemID, Timeline: tip.Position.Timeline}}
	from := s.Lineage.Start.LSN
	q.latest.Since = max(from, tip.RecordEnd)
	if tip.Latest != nil {
		q.latest = *tip.Latest
	}
	q.scanner = wal.NewScanner(s.Lineage.SegmentSize)
	if tip.RecordEnd != 0 {
		q.scanner = wal.ResumeScanner(s.Lineage.SegmentSize, tip.RecordEnd)
		from = tip.RecordEnd
	}
	return q, a.Read(ctx, tip.Chain, from, func(at wal.LSN, b []byte) { q.scan(at, b) })
}

// firstBytes prepares the comparison of a new timeline's first segment file with what is stored, or of the first file at all
// when there is no server that says what it is.
func (s *shipper) firstBytes(ctx context.Context, tip *archive.Tip, a *archive.Archive) (firstBytes, error) {
	at := tip.Position.LSN
	file := s.Lineage.SegmentSize.Start(at)
	n := len(tip.Chain.Steps)
	if n == 0 || file == at || s.dir == "" && tip.Chain.Steps[n-1].Entry.Timeline == tip.Position.Timeline {
		return firstBytes{from: at, until: at}, nil
	}
	d, err := a.DigestAt(ctx, tip.Chain, file)
	return firstBytes{file, at, d, tip.Digest}, err
}

// run ships what an origin gives until the timeline ends (errRejudge), ctx is done (nil) or work is.
func (l *leg) run(ctx, work context.Context, from origin) error {
	g, gctx := errgroup.WithContext(work)
	l.ctx = gctx
	stream, stop := context.WithCancel(gctx)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	for i, c := range l.cursors {
		g.Go(func() error { return c.run(gctx, l.tips[i]) })
		g.Go(func() error { c.merge.run(gctx, mergeEvery); return nil })
	}
	g.Go(func() error { return l.cut.run(gctx, l.w.CutAfter) })
	g.Go(func() error { return l.seal.run(gctx, l.cut, l.board.push) })
	g.Go(func() error {
		err := from.feed(stream, gctx, l)
		if ctx.Err() != nil {
			return errDone
		}
		return err
	})
	err := g.Wait()
	if errors.Is(err, errDone) || ctx.Err() != nil && !fault.Is(err, fault.Diverged) {
		return nil
	}
	return err
}

// errDone ends a leg because Run's context is done.
var errDone = errors.New("done")

// receive keeps a connection to the server until the leg ends; then it waits until what was received is stored. work is
// the context of that.
func (l *leg) receive(ctx, work context.Context, k *link) error {
	defer func() {
		if k != nil {
			k.close()
		}
	}()
	for n := 0; ; n++ {
		began := time.Now()
		err := l.session(ctx, work, k)
		k.close()
		if k = nil; err != nil && !errors.Is(err, errBroken) || ctx.Err() != nil {
			return err
		}
		l.w.note(err)
		l.w.Log.Warn("connection to the server ended", "error", err)
		if time.Since(began) > 10*time.Second {
			n = 0
		}
		if k, err = l.redial(ctx, n); err != nil {
			return l.finish(ctx, work, err)
		}
	}
}

// redial connects again, with pauses, until it works. A server on another timeline ends the leg.
func (l *leg) redial(ctx context.Context, n int) (*link, error) {
	for ; ; n++ {
		if !pause(ctx, n) {
			return nil, ctx.Err()
		}
		k, err := l.w.dial(ctx)
		if err == nil && k.sys.Position.Timeline == l.line.Timeline {
			return k, nil
		}
		if err == nil {
			k.close()
			return nil, errRejudge
		}
		if fault.Is(err, fault.Diverged) {
			return nil, err
		}
		l.w.note(err)
		l.w.Log.Warn("could not connect to the server", "attempt", n+1, "error", err)
	}
}

// finish cuts off what was received and waits until some bucket holds it, for as long as that takes; or, once ctx is
// done, until every bucket that works holds it, for lastTry at most. work is the context of that. It returns why.
func (l *leg) finish(ctx, work context.Context, why error) error {
	work, cancel := context.WithCancel(work)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastTry, cancel) })()
	if err := l.cut.cutOlder(work, time.Now()); err != nil {
		return errors.Join(why, err)
	}
	if err := l.board.stored(work, l.cut.received(), ctx.Err() != nil); err != nil {
		return errors.Join(why, err)
	}
	return why
}
