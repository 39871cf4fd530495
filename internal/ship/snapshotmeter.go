package ship

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/topology"
)

// meterEvery is how often progress is told: often enough for a bar that moves.
const meterEvery = 500 * time.Millisecond

// meter counts what a snapshot has read and tells it.
type meter struct {
	t     *taking
	known []topology.DatabaseProgress // when the backup began
	done  chan struct{}
	gone  sync.WaitGroup

	mu       sync.Mutex
	total    int64
	counts   map[uint32]int64 // bytes of files by database; 0 is everything else
	finished []string
}

func newMeter(t *taking) *meter {
	m := &meter{t: t, known: t.bases.progress(), done: make(chan struct{}), counts: map[uint32]int64{}}
	if t.Progress != nil {
		m.gone.Go(m.loop)
	}
	return m
}

func (m *meter) loop() {
	tick := time.NewTicker(meterEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			m.t.Progress(m.progress())
		case <-m.done:
			m.t.Progress(m.progress())
			return
		}
	}
}

// stop tells the last state and returns when nothing more will be told.
func (m *meter) stop() {
	close(m.done)
	m.gone.Wait()
}

// begin takes the server's estimate of what it will send.
func (m *meter) begin(spaces []replication.Tablespace) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ts := range spaces {
		m.total += ts.SizeKB * 1024
	}
}

func (m *meter) read(database uint32, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[database] += n
}

func (m *meter) complete(regions []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.finished = regions
}

func (m *meter) byDatabase() map[uint32]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.counts)
}

func (m *meter) progress() topology.SnapshotProgress {
	read := m.byDatabase()
	p := topology.SnapshotProgress{
		ID: m.t.id, Lineage: m.t.Lineage.ID, MeasuredAt: time.Now().UTC(), StartedAt: m.t.started, BytesSent: m.t.writer.Stats().SentBytes,
	}
	m.mu.Lock()
	p.TotalBytes, p.Complete = m.total, slices.Clone(m.finished)
	m.mu.Unlock()
	for _, n := range read {
		p.DoneBytes += n
	}
	p.Databases = m.databases(read, len(p.Complete) > 0)
	if p.TotalBytes = max(p.TotalBytes, p.DoneBytes); len(p.Complete) > 0 {
		p.TotalBytes = p.DoneBytes
	}
	return p
}

// databases lists each database's progress. Sizes are estimates, so none is done before all are.
func (m *meter) databases(read map[uint32]int64, complete bool) []topology.DatabaseProgress {
	out := slices.Clone(m.known)
	for i := range out {
		p := &out[i]
		p.DoneBytes = read[p.OID]
		if p.TotalBytes = max(p.TotalBytes, p.DoneBytes); complete {
			p.TotalBytes = p.DoneBytes
		}
	}
	return out
}
