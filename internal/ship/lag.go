package ship

import (
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

const (
	// lagGrain is how far apart in time the positions are that a lagMeter remembers.
	lagGrain = 100 * time.Millisecond
	// lagMost is how many it remembers: half an hour at full grain, then ever coarser.
	lagMost = 18000
)

// lagMeter remembers when the server was first known to have flushed up to where, and so how old the oldest byte is that
// a bucket lacks. It errs on the high side, by at most its grain.
type lagMeter struct {
	mu      sync.Mutex
	samples []flushedAt // both fields increase
}

type flushedAt struct {
	lsn wal.LSN
	at  time.Time
}

// seen notes that the server has flushed up to l.
func (m *lagMeter) seen(l wal.LSN, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.samples)
	if n > 0 && l <= m.samples[n-1].lsn {
		return
	}
	if n > 0 && now.Sub(m.samples[n-1].at) < lagGrain {
		m.samples[n-1].lsn = l
		return
	}
	m.samples = append(m.samples, flushedAt{l, now})
	if len(m.samples) > lagMost {
		m.thin()
	}
}

// thin forgets every other sample. The later one of two goes, so that ages stay on the high side.
func (m *lagMeter) thin() {
	kept := m.samples[:0]
	for i := 0; i+1 < len(m.samples); i += 2 {
		kept = append(kept, flushedAt{m.samples[i+1].lsn, m.samples[i].at})
	}
	if len(m.samples)%2 == 1 {
		kept = append(kept, m.samples[len(m.samples)-1])
	}
	m.samples = kept
}

// forget drops what lies at or before l.
func (m *lagMeter) forget(l wal.LSN) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := 0
	for i < len(m.samples) && m.samples[i].lsn <= l {
		i++
	}
	m.samples = append(m.samples[:0], m.samples[i:]...)
}

// age returns for how long the server has had bytes after l.
func (m *lagMeter) age(l wal.LSN, now time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.samples {
		if s.lsn > l {
			return max(0, now.Sub(s.at))
		}
	}
	return 0
}
