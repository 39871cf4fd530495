package topology

import (
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
)

func TestWindows(t *testing.T) {
	for text, minutes := range map[string]int{"7d": 7 * 24 * 60, "90m": 90, "36h": 36 * 60, "1d12h": 36 * 60, "1m": 1,
		"0": 0, "0d": 0, "": 0, "7": 0, "-1d": 0, "1x": 0, "90s": 0, "4000d": 0, "d": 0, "1.5d": 0} {
		got, err := ParseWindow(text)
		if got != minutes || (err != nil) != (minutes == 0) || err != nil && (!fault.Is(err, fault.Invalid) || fault.HintOf(err) == "") {
			t.Errorf("%q: %d minutes, error %v", text, got, err)
		}
	}
}

func TestSchedules(t *testing.T) {
	last := time.Date(2026, 11, 23, 4, 30, 0, 0, time.UTC)
	for text, next := range map[string]time.Time{
		"6h": last.Add(6 * time.Hour), "": last.Add(24 * time.Hour), "2d": last.Add(48 * time.Hour),
		"0 3 * * *": time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC), "*/20 * * * *": time.Date(2026, 11, 23, 4, 40, 0, 0, time.UTC),
	} {
		s, err := ParseSchedule(text)
		if err != nil || !s.Next(last).Equal(next) {
			t.Errorf("%q: %s, error %v; want %s", text, s.Next(last), err, next)
		}
	}
	for _, text := range []string{"0 0 30 2 *", "61 * * * *", "* * *", "0s", "1s", "sometimes", "@daily", "TZ=Europe/Berlin 0 3 * * *", "-6h"} {
		if _, err := ParseSchedule(text); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
			t.Errorf("%q: error %v", text, err)
		}
	}
}

func TestTheEarlierRegionDecidesOverSnapshots(t *testing.T) {
	last := time.Date(2026, 11, 23, 4, 30, 0, 0, time.UTC)
	g := Group{Primary: "east", Secondary: "west", Active: "east", Retention: map[string]Retention{"west": {Snapshots: "6h"}}}
	if due := g.SnapshotDue(last); !due.Equal(last.Add(6 * time.Hour)) {
		t.Errorf("due %s", due)
	}
	g.Secondary = ""
	if due := g.SnapshotDue(last); !due.Equal(last.Add(24 * time.Hour)) {
		t.Errorf("without a second region: due %s", due)
	}
}
