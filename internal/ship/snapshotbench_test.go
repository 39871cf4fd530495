package ship_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/snapshot"
)

// mixedTable compresses as business data does, about 3:1; pgbench's own accounts are nearly all blanks, about 20:1. It is
// as large as they are.
const mixedTable = `CREATE TABLE mixed AS SELECT i AS id, md5(i::text) AS token, now() - i * interval '1 second' AS at,
	round((random() * 10000)::numeric, 2) AS amount, 'customer ' || (random() * 1000)::int AS who, repeat('order note ', (i %% 7)::int) AS note
	FROM generate_series(1, 100000 * %s) i`

// BenchmarkSnapshot takes snapshots of a pgbench database with a mixed table beside pg_basebackup of the same server, and restores the last
// one. SMARTDR_BENCH_SCALE is pgbench's scale: 30 MB each with the table, 20 unless set.
//
// MB are 2^20 bytes of database. CPU seconds are this process's: those of PostgreSQL and of the object store come on
// top, and they work on the same processors.
func BenchmarkSnapshot(b *testing.B) {
	bin := postgrestest.Installations(b)[0]
	for _, name := range []string{"pgbench", "pg_basebackup"} {
		if _, err := os.Stat(client(b, bin, name)); err != nil {
			b.Skip(err)
		}
	}
	s := postgrestest.Start(b, bin, map[string]string{"autovacuum": "off", "max_wal_size": "16GB", "shared_buffers": "128MB"})
	scale := os.Getenv("SMARTDR_BENCH_SCALE")
	if scale == "" {
		scale = "20"
	}
	command(b, bin, "pgbench", "-i", "-q", "-s", scale, "-h", s.SocketDir, "-p", strconv.Itoa(s.Port), "-U", s.Superuser, "postgres")
	postgrestest.Exec(b, s, "postgres", fmt.Sprintf(mixedTable, scale))
	postgrestest.Exec(b, s, "postgres", "CHECKPOINT")
	b.Run("pg_basebackup", func(b *testing.B) { benchBaseBackup(b, s) })
	b.Run("first", func(b *testing.B) { benchTake(b, s, false) })
	b.Run("unchanged", func(b *testing.B) { benchTake(b, s, true) })
	b.Run("restore", func(b *testing.B) { benchRestore(b, s) })
}

// rates reports what b did to so many bytes an iteration.
func rates(b *testing.B, bytes int64, took, cpu time.Duration) {
	total := float64(bytes) * float64(b.N)
	b.ReportMetric(total/(1<<20)/took.Seconds(), "MB/s")
	b.ReportMetric(cpu.Seconds()/(total/(1<<30)), "cpu-s/GB")
	b.ReportMetric(0, "ns/op")
}

// cpu returns the processor time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakMB returns the most memory that this process ever had in use (VmHWM in proc(5)), in MB.
func peakMB(b *testing.B) float64 {
	status, err := os.ReadFile("/proc/self/status")
	postgrestest.Check(b, err)
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kb, err := strconv.Atoi(strings.Fields(after)[0])
	postgrestest.Check(b, err)
	return float64(kb) / 1024
}

func benchTake(b *testing.B, s *postgres.Server, warm bool) {
	var raw, sent int64
	var took, used time.Duration
	store := devtest.Store(b)
	for range b.N {
		if !warm {
			store = devtest.Store(b)
		} else {
			take(b, request(s, store))
		}
		start, before := time.Now(), cpu()
		res := take(b, request(s, store))
		took, used = took+time.Since(start), used+cpu()-before
		raw, sent = res.RawBytes, res.SentBytes
	}
	rates(b, raw, took, used)
	b.ReportMetric(peakMB(b), "peak-MB")
	b.ReportMetric(float64(sent)/(float64(raw)/(1<<30))/(1<<20), "stored-MB/GB")
}

func benchBaseBackup(b *testing.B, s *postgres.Server) {
	var bytes int64
	var took, used time.Duration
	for range b.N {
		dir := postgrestest.TempDir(b)
		start := time.Now()
		state := command(b, s.Bin, "pg_basebackup", "-D", dir, "-F", "t", "-X", "none", "-c", "fast", "--no-slot",
			"-h", s.SocketDir, "-p", strconv.Itoa(s.Port), "-U", s.Superuser)
		took, used = took+time.Since(start), used+state.UserTime()+state.SystemTime()
		info, err := os.Stat(filepath.Join(dir, "base.tar"))
		postgrestest.Check(b, err)
		bytes = info.Size()
		postgrestest.Check(b, os.RemoveAll(dir))
	}
	rates(b, bytes, took, used)
}

func benchRestore(b *testing.B, s *postgres.Server) {
	store := devtest.Store(b)
	res := take(b, request(s, store))
	m, err := snapshot.Load(b.Context(), store, "g", "w", res.ID)
	postgrestest.Check(b, err)
	var took, used time.Duration
	for range b.N {
		dir := postgrestest.TempDir(b)
		start, before := time.Now(), cpu()
		_, err := restore.Files(b.Context(), restore.FilesInput{Store: store, Manifest: m, DataDir: filepath.Join(dir, "data")})
		postgrestest.Check(b, err)
		took, used = took+time.Since(start), used+cpu()-before
		postgrestest.Check(b, os.RemoveAll(dir))
	}
	rates(b, m.TotalBytes, took, used)
}

// client returns the path of a program beside the server, also where the server's own is a link.
func client(t testing.TB, bin postgres.Binaries, name string) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(bin.Path("postgres"))
	postgrestest.Check(t, err)
	return filepath.Join(filepath.Dir(path), name)
}

func command(t testing.TB, bin postgres.Binaries, name string, args ...string) *os.ProcessState {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, client(t, bin, name), args...)
	cmd.Stdout = io.Discard
	out, err := cmd.StderrPipe()
	postgrestest.Check(t, err)
	postgrestest.Check(t, cmd.Start())
	said, _ := io.ReadAll(out)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, said)
	}
	return cmd.ProcessState
}
