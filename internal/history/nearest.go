package history

import (
	"fmt"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const opChoose = "choose point"

// spot is an end of a window: a point that can be restored.
type spot struct {
	at      wal.LSN
	time    time.Time
	lineage string
}

func (s spot) String() string {
	if s.time.IsZero() {
		return fmt.Sprintf("%s of lineage %s", s.at, s.lineage)
	}
	return fmt.Sprintf("%s (%s of lineage %s)", s.time.UTC().Format(time.RFC3339Nano), s.at, s.lineage)
}

// Check returns nil when a time or an LSN lies in a window of a timeline, and for other targets as long as there is a window. Else it is
// fault.Invalid, with the nearest points in the hint.
func Check(t topology.Timeline, target topology.Target) error {
	if err := target.Check(); err != nil {
		return err
	}
	if len(t.Windows) == 0 {
		return fault.Newf(fault.Invalid, opChoose, "nothing of workspace %s can be restored from the bucket of %q", t.Workspace, t.Region).
			WithHint("%s", nothing(t))
	}
	if target.LSN == 0 && target.Time.IsZero() {
		return nil
	}
	var before, after *spot
	for _, w := range t.Windows {
		from, to := spot{w.From.LSN, w.FromTime, w.Lineage}, spot{w.To.LSN, w.ToTime, w.Lineage}
		switch {
		case to.beforeTarget(target):
			before = newer(before, to, target)
		case from.afterTarget(target):
			after = older(after, from, target)
		default:
			return nil
		}
	}
	return refusal(t, target, before, after)
}

func nothing(t topology.Timeline) string {
	if len(t.Gaps) > 0 {
		return "What is missing: " + t.Gaps[len(t.Gaps)-1].Reason
	}
	return "Wait until its first snapshot is complete: `smartdr status` shows how far it is. Or look at the other region's bucket."
}

// beforeTarget reports whether a window that ends at s is over before the target.
func (s spot) beforeTarget(t topology.Target) bool {
	if t.LSN != 0 {
		return s.at < t.LSN
	}
	return s.time.Before(t.Time)
}

// afterTarget reports whether a window that begins at s begins after the target.
func (s spot) afterTarget(t topology.Target) bool {
	if t.LSN != 0 {
		return s.at > t.LSN
	}
	return s.time.After(t.Time)
}

func newer(a *spot, b spot, t topology.Target) *spot {
	if a == nil || t.LSN != 0 && b.at > a.at || t.LSN == 0 && b.time.After(a.time) {
		return &b
	}
	return a
}

func older(a *spot, b spot, t topology.Target) *spot {
	if a == nil || t.LSN != 0 && b.at < a.at || t.LSN == 0 && b.time.Before(a.time) {
		return &b
	}
	return a
}

func refusal(t topology.Timeline, target topology.Target, before, after *spot) error {
	what := target.LSN.String()
	if target.LSN == 0 {
		what = target.Time.UTC().Format(time.RFC3339Nano)
	}
	var near []string
	if before != nil {
		near = append(near, before.String())
	}
	if after != nil {
		near = append(near, after.String())
	}
	err := fault.Newf(fault.Invalid, opChoose, "%s cannot be restored from the bucket of %q", what, t.Region)
	switch g := gapAt(t, target); {
	case g != nil:
		err = fault.Newf(fault.Invalid, opChoose, "%s cannot be restored from the bucket of %q: %s", what, t.Region, strings.TrimSuffix(g.Reason, "."))
	case after == nil:
		err = fault.Newf(fault.Invalid, opChoose, "%s lies behind all that is in the bucket of %q", what, t.Region)
	case before == nil:
		err = fault.Newf(fault.Invalid, opChoose, "%s lies before all that can be restored from the bucket of %q", what, t.Region)
	}
	return err.WithHint("Nearest: %s.", strings.Join(near, ", and "))
}

// gapAt returns the gap that a target lies in, or nil.
func gapAt(t topology.Timeline, target topology.Target) *topology.TimelineGap {
	for i, g := range t.Gaps {
		if target.LSN != 0 && g.From.LSN <= target.LSN && target.LSN <= g.To.LSN ||
			target.LSN == 0 && !g.FromTime.IsZero() && !g.FromTime.After(target.Time) && (g.ToTime.IsZero() || !g.ToTime.Before(target.Time)) {
			return &t.Gaps[i]
		}
	}
	return nil
}
