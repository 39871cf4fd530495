package topology

// RestoreBytes is what a restored server needs of a disk: its files, the WAL to replay, a tenth for what it writes itself, and
// room to start in. A failover plans by it, and readiness foretells the plan.
func RestoreBytes(files, wal int64) int64 {
	bytes := files + wal
	return bytes + bytes/10 + 256<<20
}
