package replication_test

import (
	"io"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/wal"
)

// BenchmarkReceive streams WAL that is there already, as fast as the server sends it.
func BenchmarkReceive(b *testing.B) {
	s := postgrestest.Start(b, postgrestest.Installations(b)[0], map[string]string{"wal_keep_size": "4GB", "max_wal_size": "4GB"})
	start := wal.DefaultSegmentSize.Start(flushed(b, s))
	postgrestest.Exec(b, s, "postgres", "CREATE TABLE t AS SELECT n, repeat('x', 900) FROM generate_series(1, 400000) n")
	end := flushed(b, s)
	b.SetBytes(int64(end - start))
	for b.Loop() {
		stream, err := connect(b, s).StartPhysical(b.Context(), "", wal.Position{Timeline: 1, LSN: start})
		postgrestest.Check(b, err)
		for at := start; at < end; {
			m, err := stream.Receive(b.Context())
			postgrestest.Check(b, err)
			if d, ok := m.(replication.Data); ok {
				at += wal.LSN(len(d.Bytes))
			}
		}
	}
}

// BenchmarkBaseBackup reads a base backup and throws it away.
func BenchmarkBaseBackup(b *testing.B) {
	s := postgrestest.Start(b, postgrestest.Installations(b)[0], nil)
	postgrestest.Exec(b, s, "postgres", "CREATE TABLE t AS SELECT n, repeat('x', 900) FROM generate_series(1, 400000) n; CHECKPOINT")
	began, done := time.Now(), int64(0)
	for b.Loop() {
		backup, err := connect(b, s).BaseBackup(b.Context(), replication.BaseBackupOptions{FastCheckpoint: true})
		postgrestest.Check(b, err)
		for {
			a, err := backup.NextArchive(b.Context())
			if err == io.EOF {
				break
			}
			postgrestest.Check(b, err)
			_, err = io.Copy(io.Discard, a)
			postgrestest.Check(b, err)
		}
		done += backup.Done()
	}
	b.ReportMetric(float64(done)/1e6/time.Since(began).Seconds(), "MB/s")
}
