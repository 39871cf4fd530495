package topology

import (
	"testing"
	"time"
)

func TestAnOperationRunsWhileItGivesSignsOfLife(t *testing.T) {
	now := time.Unix(10_000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for name, c := range map[string]struct {
		op   Operation
		want bool
	}{
		"a fresh sign":           {Operation{State: OperationActive, StartedAt: ago(time.Hour), RecordedAt: ago(89 * time.Second)}, true},
		"an old one":             {Operation{State: OperationActive, StartedAt: ago(time.Hour), RecordedAt: ago(AbandonedAfter)}, false},
		"none yet, just started": {Operation{State: OperationActive, StartedAt: ago(time.Second)}, true},
		"none for long":          {Operation{State: OperationActive, StartedAt: ago(time.Hour)}, false},
		"ended":                  {Operation{State: OperationFailed, StartedAt: ago(time.Minute), RecordedAt: ago(time.Second)}, false},
	} {
		if got := c.op.Running(now); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
