package ship

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
)

// mergeEvery is how often a bucket's small objects are looked at. A light load writes one a second; what a request costs at
// restore matters more than when they are merged.
const mergeEvery = 20 * time.Second

// merger replaces a bucket's small segments by larger ones, beside the shipping.
type merger struct {
	archive *archive.Archive
	cell    int64
	log     *slog.Logger

	mu   sync.Mutex
	seen []archive.Entry // stored and perhaps worth merging
}

// add tells of objects that the bucket holds.
func (m *merger) add(es ...archive.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range es {
		if e.Range.Len() < m.cell {
			m.seen = append(m.seen, e)
		}
	}
}

// run merges until ctx is done. What fails is left for the next round: nothing depends on it.
func (m *merger) run(ctx context.Context, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			m.round(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (m *merger) round(ctx context.Context) {
	m.mu.Lock()
	seen := append([]archive.Entry(nil), m.seen...)
	m.mu.Unlock()
	for _, run := range archive.PlanMerge(seen, m.cell) {
		merged, err := m.archive.Merge(ctx, run)
		if err != nil {
			m.log.Warn("small segments were not merged", "from", run[0].Key, "objects", len(run), "error", err)
		}
		m.replace(run, merged) // also when it failed: what cannot be read is for those to judge who need it
	}
	m.forgetFinished()
}

// replace drops a run from what was seen and adds what it became, if anything.
func (m *merger) replace(run []archive.Entry, merged archive.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	gone := map[string]bool{}
	for _, e := range run {
		gone[e.Key] = true
	}
	kept := m.seen[:0]
	for _, e := range m.seen {
		if !gone[e.Key] {
			kept = append(kept, e)
		}
	}
	if merged.Key != "" && merged.Range.Len() < m.cell {
		kept = append(kept, merged)
	}
	m.seen = kept
}

// forgetFinished drops the entries of all cells but the newest two: they were merged, or are not worth it.
func (m *merger) forgetFinished() {
	m.mu.Lock()
	defer m.mu.Unlock()
	var newest int64
	for _, e := range m.seen {
		newest = max(newest, int64(e.Range.Start)/m.cell)
	}
	kept := m.seen[:0]
	for _, e := range m.seen {
		if int64(e.Range.Start)/m.cell >= newest-1 {
			kept = append(kept, e)
		}
	}
	m.seen = kept
}
