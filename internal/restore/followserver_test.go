package restore

import (
	"testing"
	"time"
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
