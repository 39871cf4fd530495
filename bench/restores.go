package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/wal"
)

// measureRestore brings back the newest snapshot from the other region's bucket, the WAL after it, and recovers.
func (r *run) measureRestore(ctx context.Context) error {
	if r.snapshot.ID == "" || r.end == 0 {
		return errors.New("there is nothing to restore: measure snapshot and wal, too")
	}
	instance := filepath.Join(r.scratch, "restored")
	if err := mkdirForServer(instance); err != nil {
		return err
	}
	data := filepath.Join(instance, "data")
	if err := r.files(ctx, data); err != nil {
		return err
	}
	fetched, err := r.fetch(ctx, filepath.Join(data, "pg_wal"))
	if err != nil {
		return err
	}
	return r.attach(ctx, data, fetched)
}

func (r *run) files(ctx context.Context, data string) error {
	copied, size, err := r.copyData(ctx)
	if err != nil {
		return err
	}
	raw, stored, err := r.get(ctx, packs)
	if err != nil {
		return err
	}
	var res restore.FilesResult
	c, err := r.call(ctx, "files", filesInput{r.other(), r.snapshot.ID, data}, &res)
	if err != nil {
		return err
	}
	const name = "restore of files"
	bytes := float64(res.Bytes)
	r.disk = size / copied.Seconds / mega
	network := stored / raw.Seconds / mega * bytes / float64(res.Fetched)
	r.rec.addBeside(name, "MB/s of database", bytes/c.Seconds/mega, "the slower of disk and bucket", min(r.disk, network))
	r.rec.addBeside(name+": its CPU", "s/GB", c.CPU/(bytes/giga), "cp -r", copied.CPU/(size/giga))
	r.rec.add("the disk: cp -r of the data directory, synced", "MB/s of database", r.disk)
	r.rec.add("the bucket: plain GET of the packs", "MB/s of database", network)
	r.rec.explain(name, c)
	return nil
}

// fetch brings the WAL from the snapshot on, up to the limit of -replay.
func (r *run) fetch(ctx context.Context, dir string) (f restore.FetchedWAL, err error) {
	to := min(r.end, r.snapshot.Start.LSN+wal.LSN(r.replayMB*mega))
	raw, stored, err := r.get(ctx, segments)
	if err != nil {
		return f, err
	}
	c, err := r.call(ctx, "fetch", fetchInput{r.other(), r.lineage, r.snapshot.Start, to, dir}, &f)
	if err != nil {
		return f, err
	}
	bytes := float64(f.End.LSN - f.Start)
	const name = "fetch of WAL"
	network := stored / raw.Seconds / mega * bytes / float64(f.Fetched)
	r.rec.addBeside(name, "MB/s of WAL", bytes/c.Seconds/mega, "the slower of disk and bucket", min(r.disk, network))
	r.rec.add(name+": its CPU", "s/GB", c.CPU/(bytes/giga))
	r.rec.add("the bucket: plain GET of the segments", "MB/s of WAL", network)
	r.rec.explain(name, c)
	return f, nil
}

// attach recovers to the end of what was fetched and promotes.
func (r *run) attach(ctx context.Context, data string, f restore.FetchedWAL) error {
	if err := giveToServer(filepath.Dir(data)); err != nil {
		return err
	}
	port, err := devenv.FreePort()
	if err != nil {
		return err
	}
	s := &postgres.Server{
		Bin: r.place.server.Bin, Account: r.place.server.Account, Superuser: "postgres", DataDir: data,
		SocketDir: filepath.Join(filepath.Dir(data), "run"), LogFile: filepath.Join(filepath.Dir(data), "log"), Listen: "127.0.0.1", Port: port,
		Settings: map[string]string{"shared_buffers": "512MB", "max_wal_size": "4GB"},
	}
	var a restore.Attached
	c, err := r.call(ctx, "attach", attachInput{s, restore.Plan{Timeline: f.End.Timeline, RecordEnd: f.RecordEnd}, f.MaxParameters}, &a)
	err = errors.Join(err, s.Kill(context.WithoutCancel(ctx)))
	if err != nil {
		return err
	}
	r.rec.add("replay and promotion", "s", c.Seconds)
	r.rec.add("replay and promotion: rate", "MB/s of WAL", float64(f.RecordEnd-r.snapshot.Start.LSN)/c.Seconds/mega)
	return nil
}

// copyData copies the server's data directory, without WAL, after a checkpoint.
func (r *run) copyData(ctx context.Context) (c cost, size float64, err error) {
	if err := r.place.exec(ctx, "checkpoint"); err != nil {
		return c, 0, err
	}
	to := filepath.Join(r.scratch, "copy")
	defer os.RemoveAll(to)
	script := `mkdir "$2" && cp -r "$1/base" "$1/global" "$2" && find "$2" -type f -exec sync {} +`
	c, err = r.command(ctx, nil, "sh", "-c", script, "sh", r.place.server.DataDir, to)
	if err != nil {
		return c, 0, err
	}
	size, err = folderBytes(to)
	return c, size, err
}

// packs and segments choose the keys of a run's objects that a restore reads.
func packs(key string) bool    { return strings.HasSuffix(key, ".pack") }
func segments(key string) bool { return strings.HasSuffix(key, ".seg") }

// get reads all chosen objects of the other region's bucket, and returns how many bytes they have.
func (r *run) get(ctx context.Context, chosen func(key string) bool) (c cost, stored float64, err error) {
	store, err := r.other().open(ctx)
	if err != nil {
		return c, 0, err
	}
	in := getInput{Bucket: r.other()}
	if in.Keys, err = keysOf(ctx, store, chosen); err != nil {
		return c, 0, err
	}
	c, err = r.call(ctx, "get", in, &stored)
	return c, stored, err
}

func keysOf(ctx context.Context, store objectstore.Store, chosen func(string) bool) (keys []string, err error) {
	for info, err := range store.List(ctx, snapshot.Prefix(group, workspace), "") {
		if err != nil {
			return nil, err
		}
		if chosen(info.Key) {
			keys = append(keys, info.Key)
		}
	}
	return keys, nil
}

func giveToServer(dir string) error {
	a, err := postgres.DefaultAccount()
	if err != nil || a == nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, int(a.UID), int(a.GID)))
	})
}

func eachFile(dir string, do func(path string, size int64) error) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return do(path, info.Size())
	})
}
