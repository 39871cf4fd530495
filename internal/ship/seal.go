package ship

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/wal"
)

// sealer makes segments of chunks: hashing and scanning run in order, compression beside them.
type sealer struct {
	template archive.Header // what all segments share
	digest   *archive.Digest
	scanner  *wal.Scanner
	record   wal.LSN // end of the last complete record
	commit   archive.Commit
	latest   archive.Latest // of the commits since this scan, or those before it that it goes on from, began
	log      *slog.Logger
}

// sealing is a segment under way.
type sealing struct {
	done chan struct{}
	s    archive.Sealed
	err  error
}

// run seals what comes in until ctx is done, and pushes in order.
func (s *sealer) run(ctx context.Context, in *cutter, push func(context.Context, archive.Sealed) error) error {
	queue := make(chan *sealing, runtime.GOMAXPROCS(0))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		for {
			select {
			case k := <-in.out:
				j := &sealing{done: make(chan struct{})}
				h := s.header(k)
				go j.compress(h, k, in)
				select {
				case queue <- j:
				case <-ctx.Done():
					return ctx.Err()
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	g.Go(func() error { return pushAll(ctx, queue, push) })
	return g.Wait()
}

func (j *sealing) compress(h archive.Header, k chunk, in *cutter) {
	j.s, j.err = archive.Seal(h, k.raw)
	in.release(k)
	close(j.done)
}

func pushAll(ctx context.Context, queue <-chan *sealing, push func(context.Context, archive.Sealed) error) error {
	for {
		select {
		case j := <-queue:
			<-j.done
			if j.err != nil {
				return j.err
			}
			if err := push(ctx, j.s); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// header continues the chain and the scan over k.
func (s *sealer) header(k chunk) archive.Header {
	h := s.template
	h.Start, h.End = k.start, k.end()
	h.State = s.digest.State()
	s.digest.Write(k.raw)
	h.Digest = s.digest.Sum()
	s.scan(k.start, k.raw)
	latest := s.latest
	h.RecordEnd, h.LastCommit, h.Latest = s.record, s.commit, &latest
	h.AsOf, h.CreatedAt = k.asOf, time.Now().UTC()
	return h
}

// scan follows the records. Bytes that are not understood are stored all the same, as the server sent them: whoever
// restores judges them again.
func (s *sealer) scan(at wal.LSN, b []byte) {
	err := s.scanner.Feed(at, b, func(r wal.Record) {
		if r.Commit != nil {
			s.commit = archive.Commit{LSN: r.End, Time: r.Commit.Time}
			if r.Commit.Time.After(s.latest.Time) {
				s.latest.Time = r.Commit.Time
			}
		}
	})
	if err != nil {
		s.latest = archive.Latest{Since: at + wal.LSN(len(b))} // nobody knows what was passed over
		s.log.Error("WAL from the server is not understood", "error", err)
	}
	s.record = max(s.record, s.scanner.RecordEnd())
}
