package main

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/wal"
)

func TestPercentileIsANearestRank(t *testing.T) {
	values := []float64{5, 1, 4, 2, 3}
	for p, want := range map[float64]float64{0: 1, 0.2: 1, 0.21: 2, 0.5: 3, 0.99: 5, 1: 5} {
		if got := percentile(values, p); got != want {
			t.Errorf("percentile %v is %v, want %v", p, got, want)
		}
	}
	if !math.IsNaN(percentile(nil, 0.5)) {
		t.Error("a percentile of nothing is not NaN")
	}
}

func TestMedian(t *testing.T) {
	if got := median([]float64{9, 1, 2}); got != 2 {
		t.Errorf("median of three is %v, want 2", got)
	}
	if got := median([]float64{1, 4, 2, 9}); got != 3 {
		t.Errorf("median of four is %v, want 3", got)
	}
}

func at(ms int, lsn wal.LSN) sample {
	return sample{time.UnixMilli(int64(ms)), lsn}
}

func TestLagIsUntilTheBucketHoldsTheCommit(t *testing.T) {
	commits := []sample{at(0, 100), at(100, 200), at(200, 300), at(300, 400)}
	held := []sample{at(50, 90), at(150, 200), at(1200, 300)}
	seconds, missing := lags(commits, held)
	if diff := cmp.Diff([]float64{0.15, 0.05, 1}, seconds); diff != "" {
		t.Errorf("lags (-want +got):\n%s", diff)
	}
	if missing != 1 {
		t.Errorf("%d commits are missing, want 1", missing)
	}
}

func TestATargetKnowsHowFarOffAFigureIs(t *testing.T) {
	low := target{Limit: 2}
	high := target{Limit: 1, AtLeast: true}
	for _, c := range []struct {
		target target
		value  float64
		met    bool
		gap    string
	}{
		{low, 1.5, true, ""},
		{low, 3, false, "50 % above"},
		{high, 1.2, true, ""},
		{high, 0.75, false, "25 % below"},
	} {
		if met := c.target.met(c.value); met != c.met {
			t.Errorf("%+v with %v: met %v, want %v", c.target, c.value, met, c.met)
		}
		if gap := c.target.gap(c.value); gap != c.gap {
			t.Errorf("%+v with %v: gap %q, want %q", c.target, c.value, gap, c.gap)
		}
	}
}

func TestReadDemo(t *testing.T) {
	rpo, rto, err := readDemo("x\n  RPO measured       0.84 s, from the first\n  RTO measured       6.10 s, from the loss\n")
	if rpo != 0.84 || rto != 6.1 || err != nil {
		t.Errorf("got %v, %v, %v", rpo, rto, err)
	}
	if _, _, err := readDemo("RPO measured 1 s"); err == nil {
		t.Error("half an answer was taken")
	}
}

func TestParseStatSurvivesAnyName(t *testing.T) {
	line := "17 (a) b) S 9 1 1 0 -1 4194560 3763 48489 0 14 100 50 900 300 20 0 1 0 291307"
	got, ok := parseStat(line)
	want := process{pid: 17, parent: 9, cpu: 1.5, reaped: 12}
	if !ok || got != want {
		t.Errorf("got %+v, %v, want %+v", got, ok, want)
	}
	if _, ok := parseStat("17 (a) S 9"); ok {
		t.Error("a line that ends early was taken")
	}
}
