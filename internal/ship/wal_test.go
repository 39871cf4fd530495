package ship

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
)

func TestBothBucketsGetTheServersOwnBytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"wal_keep_size": "1GB"})
	s := w.ship(nil)
	end := w.write(40 << 20)
	s.until("both buckets hold everything", func() bool { return s.reached(0, end) && s.reached(1, end) })
	s.until("the slot follows", func() bool { return w.queryLSN("select restart_lsn::text from pg_replication_slots") >= end })
	s.until("nothing lags", func() bool {
		c := s.progress().Cursors[0]
		return c.Mode == "live" && c.LagBytes == 0 && c.LagSeconds == 0 && time.Since(c.Point.AsOf) < time.Minute
	})
	s.end()
	w.compare(0)
	w.compare(1)
	if a, b := w.tip(0), w.tip(1); a.Digest != b.Digest || a.Position != b.Position || a.RecordEnd < end || a.LastCommit.LSN == 0 {
		t.Errorf("tips %+v and %+v", a.Position, b.Position)
	}
}

func TestAReplacedShipperGoesOnFromTheBucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"wal_keep_size": "1GB"})
	for range 5 {
		s := w.ship(nil)
		end := w.write(3 << 20)
		s.until("some of it is stored", func() bool { return s.reached(0, end-1<<20) })
		s.stop() // with whatever is under way
		<-s.done
	}
	s := w.ship(func(x *WAL) { x.CutAfter = 10 * time.Millisecond }) // other cuts
	end := w.write(1 << 20)
	s.until("everything is stored", func() bool { return s.reached(0, end) && s.reached(1, end) })
	s.end()
	w.compare(0)
	w.compare(1)
}

// Who starts anew knows at first neither the server nor the buckets, but what was announced: nothing of it is taken back.
func TestAReplacedShipperTakesNothingBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	s := w.ship(nil)
	end := w.write(1 << 20)
	s.until("everything is stored", func() bool { return s.reached(0, end) && s.reached(1, end) })
	s.end()
	before := s.progress()

	blind := w.ship(func(x *WAL) {
		x.Announced, x.Source.ConnString = before, "host=127.0.0.1 port=1 user=postgres dbname=postgres"
	})
	blind.until("it says that it cannot connect", func() bool { return blind.progress().Error != "" })
	if p := blind.progress(); p.Server.LSN < before.Server.LSN || !blind.reached(0, end) || !blind.reached(1, end) {
		t.Errorf("announced %+v", p)
	}
	blind.end()

	end = w.write(1 << 20) // on the server while nobody ships
	revive := w.faults[1].Add(objectstore.Rule{Fail: fault.Newf(fault.Transient, "test", "dead")})
	half := w.ship(func(x *WAL) { x.Announced = before })
	half.until("the other bucket gets it", func() bool { return half.reached(0, end) })
	revive()
	half.until("both have it", func() bool { return half.reached(1, end) })
	half.end()
}

func TestTwoShippersWithDifferentCutsAgree(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"wal_keep_size": "1GB"})
	a := w.ship(nil)
	other := w.connect()
	must(t, other.CreateSlot(t.Context(), "second"))
	must(t, other.Close(t.Context()))
	b := w.ship(func(x *WAL) { x.Slot, x.CutAfter = "second", 30*time.Millisecond })
	end := w.write(20 << 20)
	a.until("both hold everything", func() bool { return a.reached(0, end) && b.reached(1, end) })
	a.end()
	b.end()
	w.compare(0)
	w.compare(1)
}

func TestADeadBucketDoesNotStallTheOther(t *testing.T) {
	for dead, name := range []string{"local", "remote"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, map[string]string{"wal_keep_size": "1GB"})
			// so little memory that the dead one cannot be served from it afterwards
			s := w.ship(func(x *WAL) { x.CutSize, x.Memory = 1<<20, 8<<20 })
			end := w.write(2 << 20)
			s.until("both hold everything", func() bool { return s.reached(0, end) && s.reached(1, end) })
			revive := w.faults[dead].Add(objectstore.Rule{Fail: fault.Newf(fault.Transient, "test", "dead")})
			before := w.queryLSN("select restart_lsn::text from pg_replication_slots")
			end = w.write(40 << 20)
			s.until("the living one goes on", func() bool { return s.reached(1-dead, end) })
			if s.reached(dead, end) {
				t.Error("the dead one holds everything")
			}
			s.until("the slot follows what is stored", func() bool {
				return w.queryLSN("select restart_lsn::text from pg_replication_slots") >= end
			})
			if before >= end {
				t.Error("the slot was ahead")
			}
			s.until("its error is announced", func() bool { return s.progress().Cursors[dead].Error != "" })
			revive()
			s.until("the dead one catches up", func() bool { return s.reached(dead, end) })
			end = w.write(2 << 20)
			s.until("both are live again", func() bool {
				c := s.progress().Cursors[dead]
				return s.reached(0, end) && s.reached(1, end) && c.Mode == "live" && c.Error == ""
			})
			s.end()
			w.compare(0)
			w.compare(1)
		})
	}
}

func TestNothingIsLostWhileNoBucketTakesAnything(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	s := w.ship(func(x *WAL) { x.CutSize, x.Memory = 1<<20, 8<<20 })
	start := w.write(1 << 20)
	s.until("both hold everything", func() bool { return s.reached(0, start) && s.reached(1, start) })
	reviveA := w.faults[0].Add(objectstore.Rule{Dead: true})
	reviveB := w.faults[1].Add(objectstore.Rule{Dead: true})
	end := w.write(64 << 20)
	s.staysHeard(localGrace + 4*time.Second)
	if got := w.queryLSN("select restart_lsn::text from pg_replication_slots"); got > end-40<<20 {
		t.Errorf("the slot went to %s while nothing took WAL up to %s", got, end)
	}
	reviveA()
	reviveB()
	s.until("both hold everything", func() bool { return s.reached(0, end) && s.reached(1, end) })
	s.end()
	w.compare(0)
	w.compare(1)
}

// staysHeard checks for at least that long that the server hears of us again and again over one connection, although nothing is read
// from that: one that is silent for wal_sender_timeout is dropped.
func (s *shipping) staysHeard(d time.Duration) {
	s.w.t.Helper()
	c := s.w.open()
	defer c.Close(context.Background())
	sender, replies, begun := 0, map[time.Time]bool{}, time.Now()
	s.until("the server to hear of us again and again", func() bool {
		var pid int
		var at time.Time
		err := c.QueryRow(s.w.t.Context(), "select pid, reply_time from pg_stat_replication where state = 'streaming' and reply_time is not null").Scan(&pid, &at)
		if err != nil && sender == 0 {
			return false
		}
		must(s.w.t, err)
		if sender != 0 && pid != sender {
			s.w.t.Fatalf("the connection of walsender %d was replaced by that of %d", sender, pid)
		}
		sender, replies[at] = pid, true
		return len(replies) >= 10 && time.Since(begun) >= d
	})
}

func TestAKilledServerGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"wal_keep_size": "1GB"})
	s := w.ship(nil)
	for range 3 {
		w.write(8 << 20)
		must(t, w.pg.Kill(t.Context()))
		must(t, w.pg.Start(t.Context()))
	}
	end := w.write(1 << 20)
	s.until("everything is stored", func() bool { return s.reached(0, end) && s.reached(1, end) })
	s.end()
	w.compare(0)
	w.compare(1)
}

func TestAPlannedShutdownEndsWithEverythingStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	s := w.ship(func(x *WAL) { x.CutAfter = time.Hour }) // only being asked makes it ship
	end := w.write(1 << 20)
	ctx, cancel := context.WithTimeout(t.Context(), devtest.Patience)
	defer cancel()
	began := time.Now()
	must(t, w.pg.Stop(ctx, postgres.Fast))
	t.Logf("stopped within %s", time.Since(began))
	s.until("it is announced", func() bool { return s.reached(0, end) && s.reached(1, end) })
	s.end()
	if tip := w.tip(0); tip.RecordEnd != tip.Position.LSN {
		t.Errorf("the last record ends at %s, what is stored at %s", tip.RecordEnd, tip.Position)
	}
}

func TestDeadBucketsDoNotHoldUpAPlannedShutdown(t *testing.T) {
	for _, c := range []struct {
		name string
		size int
	}{{"while it waits for the acknowledgement", 1 << 20}, {"while nothing is read any more", 64 << 20}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, map[string]string{"wal_keep_size": "1GB", "wal_sender_timeout": "1h"}) // the server does not give up by itself
			s := w.ship(func(x *WAL) { x.CutSize, x.Memory = 1<<20, 8<<20 })
			end := w.write(1 << 20)
			s.until("both hold everything", func() bool { return s.reached(0, end) && s.reached(1, end) })
			for _, f := range w.faults {
				defer f.Add(objectstore.Rule{Dead: true})()
			}
			w.write(c.size)
			ctx, cancel := context.WithTimeout(t.Context(), devtest.Patience)
			defer cancel()
			began := time.Now()
			must(t, w.pg.Stop(ctx, postgres.Fast))
			t.Logf("stopped within %s", time.Since(began))
			s.stop()
			<-s.done
		})
	}
}

func TestASlotThatWasRecreatedLaterIsAHole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"max_wal_size": "32MB", "min_wal_size": "32MB"})
	s := w.ship(nil)
	end := w.write(1 << 20)
	s.until("both hold everything", func() bool { return s.reached(0, end) && s.reached(1, end) })
	s.end()
	stored := w.tip(0).Position
	w.dropSlot()
	for range 6 {
		w.write(16 << 20)
		w.sql("checkpoint")
	}
	w.sql("select pg_create_physical_replication_slot('" + testSlot + "', true)")
	s = w.ship(nil)
	<-s.done
	var hole *Hole
	if !errors.As(s.err, &hole) {
		t.Fatalf("shipping ended with %v", s.err)
	}
	if hole.Stored != stored || hole.Available <= stored.LSN || hole.Lineage != w.lineage.ID || len(hole.Silent) > 0 {
		t.Errorf("the hole is %+v, stored was %s", hole, stored)
	}
}

func TestASlotThatWasDroppedIsMadeAgainWhileTheServerHasTheWAL(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"wal_keep_size": "1GB"})
	s := w.ship(nil)
	end := w.write(1 << 20)
	s.until("both hold everything", func() bool { return s.reached(0, end) && s.reached(1, end) })
	s.end()
	w.dropSlot()
	end = w.write(20 << 20)
	s = w.ship(nil)
	s.until("everything is stored", func() bool { return s.reached(0, end) && s.reached(1, end) })
	s.end()
	w.compare(0)
}

func TestAFencedShipperStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	fenced := fault.Newf(fault.Fenced, "test", "epoch 2 exists")
	s := w.ship(func(x *WAL) { x.Fenced = func(context.Context) error { return fenced } })
	<-s.done
	if !fault.Is(s.err, fault.Fenced) {
		t.Errorf("shipping ended with %v", s.err)
	}
}

func TestAnotherServerIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.lineage.SystemID = "7000000000000000000"
	s := w.ship(nil)
	<-s.done
	if !fault.Is(s.err, fault.Diverged) || fault.HintOf(s.err) == "" {
		t.Errorf("shipping ended with %v", s.err)
	}
	if _, err := os.Stat(filepath.Join(w.pg.DataDir, "PG_VERSION")); err != nil {
		t.Error(err)
	}
}
