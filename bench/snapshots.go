package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/smartdr/smartdr/internal/ship"
)

const giga = 1e9

// measureSnapshots takes full snapshots in turn with pg_basebackup.
func (r *run) measureSnapshots(ctx context.Context) error {
	if err := r.place.exec(ctx, "checkpoint"); err != nil {
		return err
	}
	unsynced, _, _, err := r.baseBackup(ctx, "--no-sync")
	if err != nil {
		return err
	}
	base, baseBytes, tool, err := r.baseBackup(ctx)
	if err != nil {
		return err
	}
	r.rec.explain(tool, base)
	r.rec.add(tool+", without syncing it", "MB/s of database", baseBytes/unsynced.Seconds/mega)
	beside := besides{tool, baseBytes / base.Seconds / mega, base.CPU / (baseBytes / giga)}
	two, err := r.full(ctx, "two", r.buckets(), "snapshot into two buckets", beside)
	if err != nil {
		return err
	}
	if _, err := r.full(ctx, "one", r.place.buckets(r.prefix("one"))[:1], "snapshot into one bucket", beside); err != nil {
		return err
	}
	r.rec.add("stored for 1 GB of database, in each bucket", "MB", float64(two.SentBytes)/2/mega/(float64(two.RawBytes)/giga))
	return nil
}

// besides is what a reference did.
type besides struct {
	name     string
	mbPerS   float64
	cpuPerGB float64
}

func (r *run) full(ctx context.Context, kind string, to []bucket, name string, beside besides) (res ship.SnapshotResult, err error) {
	c, err := r.call(ctx, "snapshot", snapshotInput{r.source, r.lineage, to}, &res)
	if err != nil {
		return res, err
	}
	raw := float64(res.RawBytes)
	r.rec.addBeside(name, "MB/s of database", raw/c.Seconds/mega, beside.name, beside.mbPerS)
	r.rec.addBeside(name+": its CPU", "s/GB", c.CPU/(raw/giga), beside.name, beside.cpuPerGB)
	r.rec.explain(name, c)
	r.keep(kind, res)
	return res, nil
}

// keep remembers the newest snapshot that both buckets have.
func (r *run) keep(kind string, res ship.SnapshotResult) {
	if kind == "two" {
		r.snapshot = snapshotTaken{res.ID, res.Start, res.RawBytes}
	}
}

// measureIncremental takes snapshots after scattered updates, into the buckets that hold a full one.
func (r *run) measureIncremental(ctx context.Context) error {
	if r.snapshot.ID == "" {
		var res ship.SnapshotResult
		if _, err := r.call(ctx, "snapshot", snapshotInput{r.source, r.lineage, r.buckets()}, &res); err != nil {
			return err
		}
		r.keep("two", res)
	}
	if err := r.incremental(ctx, 0, scattered); err != nil {
		return err
	}
	for n := 1; n < scatteredRounds; n++ {
		if err := r.incremental(ctx, n, fmt.Sprintf("%s, the %dth in a row", scattered, n+1)); err != nil {
			return err
		}
	}
	return nil
}

// scattered is what the figures of a snapshot after scattered updates are called. A later one in a row is built on the same full one as the
// first, and stores what changed before once more.
const (
	scattered       = "snapshot after scattered updates"
	scatteredRounds = 4
)

// incremental takes one such snapshot. Only of the first and the last in a row everything is told.
func (r *run) incremental(ctx context.Context, n int, name string) error {
	before, err := r.place.flushed(ctx)
	if err != nil {
		return err
	}
	if err := r.place.scatter(ctx, r.n*scatteredRounds+n); err != nil {
		return err
	}
	pages, err := changedPages(r.place.server.DataDir, before)
	if err != nil {
		return err
	}
	var res ship.SnapshotResult
	c, err := r.call(ctx, "snapshot", snapshotInput{r.source, r.lineage, r.buckets()}, &res)
	if err != nil {
		return err
	}
	r.keep("two", res)
	if n != 0 && n != scatteredRounds-1 {
		return nil
	}
	each := float64(res.SentBytes) / 2 / mega
	r.rec.addBeside(name+": sent to each bucket", "MB", each, "changed pages, uncompressed", float64(pages.raw)/mega)
	r.rec.addBeside(name+": sent, of what compresses", "MB", each, "changed pages as one zstd stream", float64(pages.compressed)/mega)
	r.rec.add(name, "MB/s of database", float64(res.RawBytes)/c.Seconds/mega)
	r.rec.add(name+": its CPU", "s/GB", c.CPU/(float64(res.RawBytes)/giga))
	return nil
}

// baseBackup copies the server to a local file, with pg_basebackup where there is one.
func (r *run) baseBackup(ctx context.Context, flags ...string) (c cost, size float64, tool string, err error) {
	dir := filepath.Join(r.scratch, "basebackup")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return c, 0, "", err
	}
	defer os.RemoveAll(dir)
	if path, ok := programOf(r.place.server.Bin, "pg_basebackup"); ok {
		tool = "pg_basebackup to a local file"
		c, err = r.pgBaseBackup(ctx, path, dir, flags)
	} else {
		tool = "a plain copy of BASE_BACKUP to a local file"
		c, err = r.call(ctx, "backup", backupInput{r.source, filepath.Join(dir, "base.tar")}, new(struct{}))
	}
	if err != nil {
		return c, 0, "", err
	}
	size, err = folderBytes(dir)
	return c, size, tool, err
}

// pgBaseBackup connects as our own snapshots do. It syncs what it wrote unless flags say otherwise; versitygw does not.
func (r *run) pgBaseBackup(ctx context.Context, path, dir string, flags []string) (cost, error) {
	password, err := os.ReadFile(r.source.PasswordFile)
	if err != nil {
		return cost{}, err
	}
	args := append([]string{"-d", r.source.ConnString, "-Ft", "-X", "none", "-c", "fast", "-D", dir}, flags...)
	return r.command(ctx, []string{"PGPASSWORD=" + strings.TrimSpace(string(password))}, path, args...)
}

// folderBytes adds up the sizes of the files below dir.
func folderBytes(dir string) (sum float64, err error) {
	err = eachFile(dir, func(path string, size int64) error { sum += float64(size); return nil })
	if err == nil && sum == 0 {
		err = fmt.Errorf("%s is empty", dir)
	}
	return sum, err
}
