package ship

import (
	"context"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/wal"
)

// likeWAL returns bytes that compress about 4:1, as WAL with full-page images of text does.
func likeWAL(n int) []byte {
	b := make([]byte, 0, n)
	r := rand.New(rand.NewPCG(1, 2))
	words := make([][]byte, 500)
	for i := range words {
		words[i] = make([]byte, 8+r.IntN(40))
		for j := range words[i] {
			words[i][j] = byte(r.Uint32())
		}
	}
	for len(b) < n {
		b = append(b, words[r.IntN(len(words))]...)
		b = append(b, byte(r.Uint32()), byte(r.Uint32()))
	}
	return b[:n]
}

// BenchmarkSeal is compressing, hashing and framing on one goroutine.
func BenchmarkSeal(b *testing.B) {
	raw := likeWAL(16 << 20)
	b.SetBytes(int64(len(raw)))
	var stored int64
	for b.Loop() {
		d := archive.NewDigest()
		h := archive.Header{Start: 0, End: wal.LSN(len(raw)), State: d.State()}
		d.Write(raw)
		h.Digest = d.Sum()
		s, err := archive.Seal(h, raw)
		must(b, err)
		stored += int64(len(s.Bytes))
	}
	b.ReportMetric(float64(len(raw))*float64(b.N)/float64(stored), "ratio")
}

// BenchmarkShipBurst is a real server's WAL from its slot to two buckets: how fast a backlog drains. The server and the
// object store share the machine's cores.
func BenchmarkShipBurst(b *testing.B) {
	w := newWorld(b, map[string]string{"max_wal_size": "4GB", "wal_keep_size": "4GB", "max_slot_wal_keep_size": "-1"})
	end := w.benchWrite(1 << 30)
	size := int64(end - w.lineage.Start.LSN)
	b.SetBytes(size)
	for b.Loop() {
		w.lineage.ID = "0001-" + time.Now().Format("15040500")
		cpu := ownCPU()
		s := w.ship(func(x *WAL) { x.Slot = testSlot })
		s.until("everything is stored", func() bool { return s.reached(0, end) && s.reached(1, end) })
		s.end()
		b.ReportMetric((ownCPU()-cpu).Seconds()*1e9/float64(size), "cpu-s/GB")
	}
}

// BenchmarkShipWhileWriting is the age of what is missing in a bucket while the server writes as fast as it can.
func BenchmarkShipWhileWriting(b *testing.B) {
	for b.Loop() {
		w := newWorld(b, map[string]string{"max_wal_size": "4GB", "max_slot_wal_keep_size": "-1"})
		s := w.ship(func(x *WAL) { x.CutAfter = time.Second })
		var worst float64
		var worstBytes int64
		watch, stop := context.WithCancel(b.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for sleep(watch, 50*time.Millisecond) {
				for _, c := range s.progress().Cursors {
					worst, worstBytes = max(worst, c.LagSeconds), max(worstBytes, c.LagBytes)
				}
			}
		}()
		began := time.Now()
		start := w.flushed()
		end := w.benchWrite(1 << 30)
		wrote := time.Since(began)
		s.until("everything is stored", func() bool { return s.reached(0, end) && s.reached(1, end) })
		after := time.Since(began) - wrote
		stop()
		<-done
		s.end()
		b.ReportMetric(float64(end-start)/1e6/wrote.Seconds(), "written-MB/s")
		b.ReportMetric(after.Seconds(), "behind-s")
		b.ReportMetric(worst, "worst-lag-s")
		b.ReportMetric(float64(worstBytes)/(1<<20), "worst-lag-MiB")
	}
}

// benchWrite writes rows as an application would, until about size bytes of WAL are there.
func (w *world) benchWrite(size int64) wal.LSN {
	w.t.Helper()
	w.sql("create table if not exists orders (id bigserial primary key, customer int, note text, at timestamptz default now())")
	start := w.flushed()
	for int64(w.flushed()-start) < size {
		w.sql("insert into orders (customer, note) select i % 9973, md5(i::text) || ' ' || repeat('order ', i % 20) from generate_series(1, 100000) i")
	}
	return w.flushed()
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		os.Exit(1)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPutSegments is the object store alone: what shipping cannot exceed.
func BenchmarkPutSegments(b *testing.B) {
	w := newWorld(b, nil)
	raw := likeWAL(4 << 20)
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		_, err := w.stores[0].Put(b.Context(), "bench/"+time.Now().String(), raw, objectstore.PutOptions{IfAbsent: true})
		must(b, err)
	}
}
