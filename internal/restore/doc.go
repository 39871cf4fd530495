// Package restore turns what a bucket holds into a running server: files of a snapshot, WAL in pg_wal, recovery
// exactly to the recovery point, promotion.
package restore
