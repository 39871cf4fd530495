package verify_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/retention"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// lookingBack checks a bucket that keeps WAL for transactions that were open at a fork, whole and with a hole there; and one that keeps none.
func lookingBack(t *testing.T, w *world) {
	for name, c := range map[string]struct {
		needs    wal.LSN
		findings int
	}{"far": {w.firstLineage.Start.LSN + 1, 1}, "not at all": {w.fork, 0}} {
		t.Run(name, func(t *testing.T) {
			b := &bucket{copyOf(t, w.west), t, w}
			o := &world{t: t, group: sweptBack(t, w, b, c.needs)}
			for _, f := range at(t, o, map[string]objectstore.Store{"west": b}, topology.VerifyNone).Findings {
				t.Errorf("before anything is damaged: %+v", f)
			}
			key := b.holding(first, w.firstLineage.Start.LSN).Key
			b.lose(key)
			v := at(t, o, map[string]objectstore.Store{"west": b}, topology.VerifyNone)
			if len(v.Findings) != c.findings || len(v.Lost) > 0 {
				t.Fatalf("without %s it finds %+v, lost %+v", key, v.Findings, v.Lost)
			}
			for _, f := range v.Findings {
				said := f.What + strings.Join(f.Consequence, " ")
				if f.Kind != missing || f.Severity != damaged || !strings.Contains(said, "was open where app_20261123T100000Z was left") || !strings.Contains(said, "No moment is lost. With this bucket, missing rows of app_20261123T100000Z are found by comparing tables as a whole.") {
					t.Errorf("it says %+v", f)
				}
			}
		})
	}
}

// sweptBack gives up of a bucket what a short window does not need, but for WAL from a position on, and returns the group after that. Where the WAL
// before is needed anyway it is there still: nothing is young enough to go.
func sweptBack(t *testing.T, w *world, b *bucket, needs wal.LSN) topology.Group {
	t.Helper()
	c := &catalog.Catalog{Stores: map[string]objectstore.Store{"east": copyOf(t, w.east), "west": b}}
	_, err := retention.Sweep{Store: b, Catalog: c, Group: "prod", Region: "west", Grace: 24 * time.Hour, Window: time.Nanosecond,
		Clock:  func() time.Time { return time.Now().Add(time.Hour) },
		Needed: func(context.Context, *topology.Group, topology.SystemManaged) (wal.LSN, error) { return needs, nil }}.Run(t.Context())
	check(t, err)
	loaded, err := c.Load(t.Context(), "prod")
	check(t, err)
	return loaded.Group
}
