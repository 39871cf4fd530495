package main

import (
	"fmt"
	"math"
	"strings"
)

// figure is one thing that was measured: a value for each run, and what stands beside it.
type figure struct {
	Name      string    `json:"name"`
	Unit      string    `json:"unit"`
	Values    []float64 `json:"values"`
	Median    float64   `json:"median"`
	Reference string    `json:"reference,omitempty"` // what Beside is about
	Beside    []float64 `json:"beside,omitempty"`    // same unit, same runs
	Ratio     float64   `json:"ratio,omitempty"`     // median of the runs' own ratios
	Target    *target   `json:"target,omitempty"`
	Met       *bool     `json:"met,omitempty"`
}

// target is where the product should stand.
type target struct {
	Text    string  `json:"text"`
	Limit   float64 `json:"limit"`
	AtLeast bool    `json:"atLeast,omitempty"` // else at most
	OfRatio bool    `json:"ofRatio,omitempty"` // the limit is for the ratio to the reference
}

// targets by the figures' names.
var targets = map[string]target{
	"snapshot into two buckets":                             {"at least pg_basebackup's", 1, true, true},
	"snapshot into two buckets: its CPU":                    {"< 4.7", 4.7, false, false},
	"snapshot into one bucket":                              {"at least pg_basebackup's", 1, true, true},
	"snapshot into one bucket: its CPU":                     {"< 4.7", 4.7, false, false},
	"snapshot after scattered updates: sent to each bucket": {"little more than the changed pages", 1.2, false, true},
	"WAL, a backlog shipped to both buckets":                {">= 110", 110, true, false},
	"WAL, full load: behind at the end, as time":            {"nothing: no more than the 1 s between cuts", 1, false, false},
	"WAL, full load: drained after":                         {"nothing: within 2 s", 2, false, false},
	"WAL, a commit every 100 ms: lag p99":                   {"< 2", 2, false, false},
	"restore of files":                                      {"the speed of S3 or the disk: 0.9", 0.9, true, true},
	"fetch of WAL":                                          {"the speed of S3 or the disk: 0.9", 0.9, true, true},
	"replay and promotion: rate":                            {"PostgreSQL's own, 272 on the anchors' machine", 272, true, false},
}

func (t target) met(v float64) bool {
	if t.AtLeast {
		return v >= t.Limit
	}
	return v <= t.Limit
}

// gap says how far off a value is, or "" when the target is met.
func (t target) gap(v float64) string {
	if t.met(v) {
		return ""
	}
	word := "above"
	if t.AtLeast {
		word = "below"
	}
	return fmt.Sprintf("%.0f %% %s", 100*math.Abs(v/t.Limit-1), word)
}

// conclude computes what follows from the values.
func (f *figure) conclude() {
	f.Median = median(f.Values)
	if f.Reference != "" {
		f.Ratio = median(ratios(f.Values, f.Beside))
	}
	t, ok := targets[f.Name]
	if !ok {
		return
	}
	met := t.met(f.judged(t))
	f.Target, f.Met = &t, &met
}

func (f *figure) judged(t target) float64 {
	if t.OfRatio {
		return f.Ratio
	}
	return f.Median
}

// verdict is the table's last column.
func (f *figure) verdict() string {
	if f.Target == nil {
		return ""
	}
	if *f.Met {
		return "yes"
	}
	return "no, " + f.Target.gap(f.judged(*f.Target))
}

// cells are a figure's row in the table.
func (f *figure) cells() []string {
	c := []string{f.Name, number(f.Median), f.Unit, spread(f.Values), "", "", "", f.verdict()}
	if f.Reference != "" {
		c[4], c[5] = number(median(f.Beside))+" "+f.Reference, fmt.Sprintf("%.2f", f.Ratio)
	}
	if f.Target != nil {
		c[6] = f.Target.Text
	}
	return c
}

var columns = []string{"measured", "median", "unit", "runs", "beside", "ratio", "target", "met"}

func spread(values []float64) string {
	var s []string
	for _, v := range values {
		s = append(s, number(v))
	}
	return strings.Join(s, " ")
}

// number writes about three significant digits.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "-"
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
