package workflows

import (
	"testing"
	"time"
)

// Whatever rest a worker gives a bucket, the last attempt begins after it, and none is made in vain.
func TestTriesBeyondARest(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		first, most, long time.Duration
		tries             int32
	}{
		{s, 10 * s, 0, 2},
		{s, 10 * s, s - 1, 2},
		{s, 10 * s, s, 3},          // after 1 and 3 s
		{s, 10 * s, 14 * s, 5},     // after 1, 3, 7 and 15 s
		{s, 4 * s, 14 * s, 6},      // after 1, 3, 7, 11 and 15 s
		{s / 2, 10 * s, 15 * s, 6}, // after 0.5, 1.5, 3.5, 7.5 and 15.5 s
	} {
		if got := triesBeyond(c.first, c.most, c.long); got != c.tries {
			t.Errorf("%s to %s beyond %s: %d tries, want %d", c.first, c.most, c.long, got, c.tries)
		}
	}
	policy := retry(askFirst, askMost, askTries)
	waited := time.Duration(0)
	for n, pause := int32(1), policy.InitialInterval; n < policy.MaximumAttempts; n++ {
		waited += pause
		pause = min(time.Duration(float64(pause)*policy.BackoffCoefficient), policy.MaximumInterval)
	}
	if waited <= BucketRest {
		t.Errorf("the last attempt begins %s after the first, and a bucket rests for %s", waited, BucketRest)
	}
}
