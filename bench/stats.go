package main

import (
	"math"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

// percentile returns the value below or at which the share p (0 to 1) of values lies, by nearest rank; NaN of none.
func percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(p * float64(len(s))))
	return s[min(max(rank, 1), len(s))-1]
}

// median is the middle value, or the mean of the two in the middle; NaN of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// ratios divides value by value: both slices hold one value for each run, in the same order.
func ratios(values, beside []float64) []float64 {
	var out []float64
	for i := range min(len(values), len(beside)) {
		out = append(out, values[i]/beside[i])
	}
	return out
}

// sample is a position at a moment: of a commit, or of a bucket's end.
type sample struct {
	at  time.Time
	lsn wal.LSN
}

// lags returns for each commit how long it took until the bucket held it, in seconds; in held both fields increase.
// Commits that it never held are counted in missing.
func lags(commits, held []sample) (seconds []float64, missing int) {
	i := 0
	for _, c := range commits {
		for i < len(held) && held[i].lsn < c.lsn {
			i++
		}
		if i == len(held) {
			missing++
			continue
		}
		seconds = append(seconds, max(0, held[i].at.Sub(c.at).Seconds()))
	}
	return seconds, missing
}
