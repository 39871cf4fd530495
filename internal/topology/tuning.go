package topology

import "strconv"

// minTuned is the smallest memory that a server is given: below it PostgreSQL's own defaults do not fit either.
const minTuned = 128 << 20

// Tuning returns the settings of PostgreSQL that follow from a size, in the words of ALTER SYSTEM; none for no size. What
// somebody chose for a workspace comes before them.
func (s Size) Tuning() map[string]string {
	if s.IsZero() {
		return nil
	}
	m := max(s.MemoryBytes, minTuned)
	cpus := max(int64(s.CPUs), 1)
	return map[string]string{
		// PostgreSQL's manual: a quarter of the memory is a reasonable start, and the kernel's cache needs the rest.
		"shared_buffers": mb(m / 4),
		// What the planner may take for cached, in shared_buffers and by the kernel: all but what sessions need.
		"effective_cache_size": mb(m / 4 * 3),
		// Vacuum and index builds run a few at a time; beyond 2 GB they seldom become faster.
		"maintenance_work_mem": mb(min(m/16, 2<<30)),
		// One for each 16 MB of memory: 64 in the smallest size, and no more than a server schedules well.
		"max_connections": number(m>>24, 25, 500),
		// A quarter of the memory when every connection sorts at once, which is already a bad day.
		"work_mem": kb(min(max(m/4/clamp(m>>24, 25, 500), 4<<20), 64<<20)),
		// Parallel work follows the processors; the rest of the workers is for replication and extensions.
		"max_worker_processes":             number(cpus+8, 8, 128),
		"max_parallel_workers":             number(cpus, 2, 64),
		"max_parallel_workers_per_gather":  number(cpus/2, 2, 8),
		"max_parallel_maintenance_workers": number(cpus/4, 2, 8),
		// Checkpoints by time, not by volume, in a server that writes its memory's worth an hour.
		"max_wal_size": mb(clamp(m/4, 1<<30, 16<<30)),
		// A shipper that is dead must not fill the disk: then a hole is the smaller harm.
		"max_slot_wal_keep_size": mb(clamp(m*4, 8<<30, 256<<30)),
		// Ours, a standby's and a few base backups at the same time.
		"max_wal_senders":       "16",
		"max_replication_slots": "16",
	}
}

func clamp(n, low, high int64) int64 { return min(max(n, low), high) }

func number(n, low, high int64) string { return strconv.FormatInt(clamp(n, low, high), 10) }

func mb(bytes int64) string { return strconv.FormatInt(bytes>>20, 10) + "MB" }

func kb(bytes int64) string { return strconv.FormatInt(bytes>>10, 10) + "kB" }
