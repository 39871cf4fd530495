package restore

import (
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/wal"
)

func TestOneThatHadNothingToReplayDoesNotWaitInVain(t *testing.T) {
	f, now := &follow{}, time.Now()
	for _, step := range []struct {
		after time.Duration
		waits bool
		want  bool
	}{
		{0, false, false},
		{time.Hour, true, false}, // something came after an idle hour
		{stuckAfter, true, false},
		{time.Millisecond, true, true},
		{0, false, false}, // it has found it
		{time.Hour, true, false},
	} {
		now = now.Add(step.after)
		if got := f.waitsInVain(step.waits, now); got != step.want {
			t.Errorf("after %s, waiting %t: %t", step.after, step.waits, got)
		}
	}
	f.advance(1)
	if now = now.Add(stuckAfter + time.Second); f.waitsInVain(true, now) {
		t.Error("it had just replayed something")
	}
}

// A bucket in which nothing comes is looked at less often, but never less than once a second.
func TestABucketIsListedOftenEnough(t *testing.T) {
	f, err := newFollow(FollowInput{Server: &postgres.Server{}, SegmentSize: wal.DefaultSegmentSize, Legs: []Leg{{}}})
	if f == nil {
		t.Fatal(err)
	}
	now, before := time.Now(), time.Duration(0)
	for range 100 {
		f.schedule(now)
		pause := f.listAt.Sub(now)
		if pause < before || pause > time.Second {
			t.Errorf("listed again after %s, and before after %s", pause, before)
		}
		before = pause
	}
	f.pending = []piece{{}}
	if f.schedule(now); f.listAt.Sub(now) >= before {
		t.Errorf("while something comes it is listed after %s", f.listAt.Sub(now))
	}
}
