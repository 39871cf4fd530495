package topology

import (
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/smartdr/smartdr/internal/fault"
)

const opRetention = "set retention"

const (
	// longestWindow keeps a slip of the finger from keeping everything for ever.
	longestWindow = 10 * 365 * 24 * time.Hour
	// shortestInterval is below what a snapshot of a small server takes.
	shortestInterval = time.Minute
)

// ParseWindow reads how far back a region is to be restorable: "7d", "36h", "90m", or a sum of those.
func ParseWindow(s string) (minutes int, err error) {
	d, ok := parseDays(s)
	switch {
	case !ok:
		return 0, fault.Newf(fault.Invalid, opRetention, "%q is no length of time", s).WithHint("Say it in days, hours or minutes, as 7d, 36h or 90m.")
	case d < time.Minute:
		return 0, fault.Newf(fault.Invalid, opRetention, "a window of %q keeps nothing", s).WithHint("The shortest window is 1m. The newest point is always kept.")
	case d > longestWindow:
		return 0, fault.Newf(fault.Invalid, opRetention, "a window of %q is longer than ten years", s).WithHint("Was another unit meant? m is minutes, h hours, d days.")
	case d%time.Minute != 0:
		return 0, fault.Newf(fault.Invalid, opRetention, "a window of %q is not of whole minutes", s).WithHint("Say it in days, hours or minutes, as 7d, 36h or 90m.")
	}
	return int(d / time.Minute), nil
}

// parseDays is time.ParseDuration with days, which come first.
func parseDays(s string) (time.Duration, bool) {
	days, rest, has := strings.Cut(strings.TrimSpace(s), "d")
	if !has {
		days, rest = "0", days
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil || !has && rest == "" {
		return 0, false
	}
	d := time.Duration(0)
	if rest != "" {
		if d, err = time.ParseDuration(rest); err != nil || d < 0 {
			return 0, false
		}
	}
	return d + time.Duration(n)*24*time.Hour, true
}

// Schedule says when snapshots are due.
type Schedule struct {
	every time.Duration // 0: by cron
	cron  cron.Schedule
}

// ParseSchedule reads an interval, as "6h", or a line of cron with five fields in UTC, as "0 3 * * *".
func ParseSchedule(s string) (Schedule, error) {
	if s == "" {
		s = DefaultSnapshots
	}
	if d, ok := parseDays(s); ok {
		if d < shortestInterval {
			return Schedule{}, fault.Newf(fault.Invalid, opRetention, "snapshots every %q never end", s).WithHint("The shortest interval is 1m.")
		}
		return Schedule{every: d}, nil
	}
	if strings.Contains(s, "TZ=") || strings.HasPrefix(s, "@") {
		return Schedule{}, fault.Newf(fault.Invalid, opRetention, "schedule %q is not of five fields in UTC", s).WithHint(scheduleHint)
	}
	c, err := cron.ParseStandard(s)
	if err != nil {
		return Schedule{}, fault.Newf(fault.Invalid, opRetention, "schedule %q can be read neither as an interval nor as a line of cron: %w", s, err).WithHint(scheduleHint)
	}
	if c.Next(time.Unix(0, 0).UTC()).IsZero() {
		return Schedule{}, fault.Newf(fault.Invalid, opRetention, "schedule %q names no day that there is: no snapshot would ever be taken", s).WithHint(scheduleHint)
	}
	return Schedule{cron: c}, nil
}

const scheduleHint = `Give an interval, as "6h", or minute, hour, day of month, month and day of week in UTC, as "0 3 * * *".`

// Next returns when the snapshot after one of that moment is due.
func (s Schedule) Next(last time.Time) time.Time {
	if s.cron == nil {
		return last.Add(s.every)
	}
	return s.cron.Next(last.UTC())
}

// Check refuses what no region can keep.
func (r Retention) Check() error {
	if r.WindowMinutes < 0 || time.Duration(r.WindowMinutes)*time.Minute > longestWindow {
		return fault.Newf(fault.Invalid, opRetention, "a window of %d minutes", r.WindowMinutes).WithHint("Say it in days, hours or minutes, as 7d, 36h or 90m.")
	}
	_, err := ParseSchedule(r.Snapshots)
	return err
}

// Schedule is when the region wants snapshots; the default where what is written down cannot be read.
func (r Retention) Schedule() Schedule {
	s, err := ParseSchedule(r.Snapshots)
	if err != nil {
		return Schedule{every: 24 * time.Hour}
	}
	return s
}

// SnapshotDue is when the snapshot after one of that moment is due: one snapshot goes to both regions, so whichever wants it earlier decides.
func (g *Group) SnapshotDue(last time.Time) time.Time {
	due := g.Retention[g.Active].Schedule().Next(last)
	if other := g.Other(g.Active); other != "" {
		if d := g.Retention[other].Schedule().Next(last); d.Before(due) {
			due = d
		}
	}
	return due
}
