package ship

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

func point(l wal.LSN) topology.RecoveryPoint {
	return topology.RecoveryPoint{At: wal.Position{Timeline: 1, LSN: l}}
}

func segment(start, end wal.LSN) archive.Sealed {
	return archive.Sealed{Header: archive.Header{Start: start, End: end}, Bytes: make([]byte, end-start)}
}

func TestTheSlotFollowsTheLocalBucketWhileItWorks(t *testing.T) {
	now := time.Now()
	b := newBoard(2, 100, 1<<20, now)
	b.join(0, point(100))
	b.join(1, point(100))
	must(t, b.push(t.Context(), segment(100, 200)))
	must(t, b.push(t.Context(), segment(200, 300)))
	b.reached(1, point(300))
	if got := b.flush(now); got != 100 {
		t.Errorf("%d while the local bucket holds 100", got)
	}
	b.failed(0, errNoAnswer)
	if got := b.flush(now.Add(localGrace / 2)); got != 100 {
		t.Errorf("%d while the local bucket has been away for a moment", got)
	}
	if got := b.flush(time.Now().Add(localGrace + time.Second)); got != 300 {
		t.Errorf("%d while the local bucket is away and the other holds 300", got)
	}
	b.worked(0)
	b.reached(0, point(200))
	if got := b.flush(time.Now()); got != 300 {
		t.Errorf("it went back to %d", got)
	}
}

func TestTheSlotNeverPassesWhatWasReceived(t *testing.T) {
	b := newBoard(1, 100, 1<<20, time.Now())
	b.join(0, point(500)) // a bucket that was silent at first holds more
	if got := b.flush(time.Now()); got != 100 {
		t.Errorf("%d, received up to 100", got)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	b := newBoard(2, 0, 250, time.Now())
	b.join(0, point(0))
	b.join(1, point(0))
	for i := wal.LSN(0); i < 200; i += 100 {
		must(t, b.push(t.Context(), segment(i, i+100)))
	}
	full, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := b.push(full, segment(200, 300)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("took more than it has room for: %v", err)
	}
	b.reached(0, point(100)) // one bucket is enough to make room
	must(t, b.push(t.Context(), segment(200, 300)))
	if _, err := b.next(t.Context(), 0); !errors.Is(err, errEvicted) {
		t.Errorf("the segment at 0: %v", err)
	}
	if b.serves(0) || !b.serves(100) || !b.serves(250) || !b.serves(300) {
		t.Error("it serves what it does not have, or does not what it has")
	}
	s, err := b.next(t.Context(), 250)
	if err != nil || s.Header.Start != 200 {
		t.Errorf("at 250: %+v, %v", s.Header, err)
	}
	b.reached(0, point(300))
	b.reached(1, point(300))
	must(t, b.push(t.Context(), segment(300, 400)))
	if b.bytes != 100 || len(b.segs) != 1 {
		t.Errorf("%d bytes in %d segments are kept although both buckets have all but one", b.bytes, len(b.segs))
	}
}

func TestLagIsTheAgeOfTheOldestMissingByte(t *testing.T) {
	var m lagMeter
	t0 := time.Now()
	m.seen(100, t0)
	m.seen(110, t0.Add(50*time.Millisecond)) // within the grain of the one before
	m.seen(200, t0.Add(time.Second))
	m.seen(150, t0.Add(2*time.Second)) // the server does not go back
	now := t0.Add(5 * time.Second)
	for l, want := range map[wal.LSN]time.Duration{50: 5 * time.Second, 105: 5 * time.Second, 110: 4 * time.Second, 199: 4 * time.Second, 200: 0, 300: 0} {
		if got := m.age(l, now); got != want {
			t.Errorf("a bucket that holds %d is behind by %s, want %s", l, got, want)
		}
	}
	m.forget(110)
	if got := m.age(0, now); got != 4*time.Second {
		t.Errorf("after forgetting: %s", got)
	}
	for i := range 3 * lagMost {
		m.seen(wal.LSN(1000+i), t0.Add(time.Duration(i+20)*lagGrain))
	}
	if len(m.samples) > lagMost+1 {
		t.Errorf("%d samples are kept", len(m.samples))
	}
}

func TestTheCutterCutsAtMultiples(t *testing.T) {
	c := newCutter(90, 64, 3)
	var got []chunk
	done := make(chan struct{})
	go func() {
		defer close(done)
		for len(got) < 3 {
			k := <-c.out
			k.raw = append([]byte(nil), k.raw...)
			got = append(got, k)
			c.release(k)
		}
	}()
	b := make([]byte, 110) // 90 to 200: cut at 128 and 192
	for i := range b {
		b[i] = byte(i)
	}
	must(t, c.append(t.Context(), 90, b[:50]))
	must(t, c.append(t.Context(), 80, b[:20])) // heard before
	must(t, c.append(t.Context(), 130, b[40:]))
	if err := c.append(t.Context(), 300, b); err == nil {
		t.Error("took bytes behind a gap")
	}
	must(t, c.cutOlder(t.Context(), time.Now()))
	<-done
	want := []wal.LSN{90, 128, 192, 200}
	for i, k := range got {
		if k.start != want[i] || k.end() != want[i+1] || k.raw[0] != byte(k.start-90) {
			t.Errorf("chunk %d is %d-%d", i, k.start, k.end())
		}
	}
	if c.received() != 200 {
		t.Errorf("received up to %d", c.received())
	}
}
