package ship

import (
	"context"
	"testing"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// A server fails over to its own standby again and again while clients write: shipping follows each time by itself, without a hole.
func TestManyLocalFailoversUnderLoad(t *testing.T) {
	t.Parallel()
	const times = 4
	w := newWorld(t, map[string]string{"wal_keep_size": "1GB"})
	standby := w.addStandby()
	s := w.ship(nil)
	for n := range times {
		if n > 0 {
			standby = w.addStandby()
			s = w.ship(nil) // its connection string has the new standby
		}
		ctx, stop := context.WithCancel(t.Context())
		load := w.bring(func(context.Context) (Brought, error) {
			for ctx.Err() == nil && w.pg.Exec(ctx, "postgres", "create table if not exists load (g int)", "insert into load select generate_series(1, 500)") == nil {
			}
			return Brought{}, nil
		})
		w.replayed(standby, w.write(3<<20))
		must(t, w.pg.Kill(t.Context()))
		stop()
		<-load.done
		must(t, standby.Promote(t.Context()))
		must(t, standby.WaitPromoted(t.Context()))
		w.pg = standby
		end := w.write(3 << 20)
		s.until("both buckets follow", func() bool { return s.reached(0, end) && s.reached(1, end) })
		s.end()
	}
	for i := range 2 {
		if tip := w.tip(i); tip.Position.Timeline != times+1 || len(tip.Line.History) != times || tip.Beyond != 0 {
			t.Errorf("bucket %d is at %s on line %+v", i, tip.Position, tip.Line)
		}
		w.compare(i)
	}
}

// A shipper that dies with a segment under way has told nobody that it is stored: the next one, which has nothing of it, gets it from the
// slot.
func TestAShipperThatDiesInTheMiddleOfASegment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for range 6 {
		s := w.ship(func(x *WAL) { x.CutSize = 1 << 20 })
		s.until("it connects", func() bool { return s.progress().Server.LSN != 0 })
		dead := []func(){w.faults[0].Add(objectstore.Rule{Fail: fault.Newf(fault.Transient, "test", "dead")}),
			w.faults[1].Add(objectstore.Rule{Fail: fault.Newf(fault.Transient, "test", "dead")})}
		end := w.write(3 << 20)
		s.until("it has received what it cannot store", func() bool { return s.progress().Server.LSN >= end })
		s.stop() // nothing of that reaches a bucket any more
		<-s.done
		if s.reached(0, end) || s.reached(1, end) {
			t.Error("it says that a bucket holds what none took")
		}
		for _, revive := range dead {
			revive()
		}
		w.sql("checkpoint", "checkpoint") // what no slot keeps goes
	}
	s := w.ship(nil)
	end := w.write(1 << 20)
	s.until("everything is stored", func() bool { return s.reached(0, end) && s.reached(1, end) })
	s.end()
	for i := range 2 {
		if tip := w.tip(i); tip.Beyond != 0 || tip.RecordEnd < end {
			t.Errorf("bucket %d ends at %s, with more from %s on", i, tip.Position, tip.Beyond)
		}
		w.compare(i)
	}
}
