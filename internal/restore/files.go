package restore

import (
	"context"
	"log/slog"
	"path/filepath"
	"runtime"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/snapshot"
)

const opFiles = "restore files"

// FilesInput says which snapshot's files to restore, and where.
type FilesInput struct {
	Store    objectstore.Store // a region's root store
	Manifest *snapshot.Manifest
	// DataDir is the data directory to be. Tablespaces go to ../tablespaces/<oid> beside it, and the state of the
	// restore is kept in ../restore.json.
	DataDir  string
	UID, GID int // who is to own the files; both 0 means whoever runs this
	Parallel int // requests at a time; 0 means four for each processor
	// Reuse are older data directories of the same cluster on this host, which may be damaged, foreign, or of a running server:
	// what of them is what the snapshot wants, by content, is copied and not fetched. They are only read.
	Reuse    []string
	Progress func(done, total int64) // bytes of files; called twice a second, from one goroutine; may be nil
	Log      *slog.Logger
}

// FilesResult says what a restore did.
type FilesResult struct {
	Bytes   int64 // of all files, those left out too, which are as long as ever and all zeros
	Files   int
	Fetched int64 // compressed bytes that came from the bucket
	Reused  int64 // raw bytes that were there already, from an earlier attempt
	Local   int64 // raw bytes that came from the directories of Reuse
}

// Files restores a snapshot's files. It can be killed and called again, and then fetches only what is not there, which
// it finds out by the content. On a directory where it has finished it does nothing: a server may run there.
//
// The directory does not start before it is complete: pg_control is written last. And it does not start without
// backup_label, since the checkpoint that pg_control names is made invalid. Errors: fault.Full (no room), fault.Corrupt
// (an object is not what was written), fault.Missing (an object or chunk is gone), fault.Invalid (the directory is
// somebody else's), fault.Conflict (another restore into it is under way).
func Files(ctx context.Context, in FilesInput) (FilesResult, error) {
	if in.Log == nil {
		in.Log = slog.New(slog.DiscardHandler)
	}
	if in.Parallel <= 0 {
		in.Parallel = 4 * runtime.GOMAXPROCS(0)
	}
	dir, err := filepath.Abs(in.DataDir)
	if err != nil {
		return FilesResult{}, fault.New(fault.Invalid, opFiles, err)
	}
	f := &files{FilesInput: in, m: in.Manifest, place: newPlace(dir, in)}
	unlock, err := f.place.lock()
	if err != nil {
		return FilesResult{}, err
	}
	defer unlock()
	return f.run(ctx)
}

// files is one restore under way.
type files struct {
	FilesInput
	m     *snapshot.Manifest
	place *place
	plan  *plan
	res   FilesResult
}

func (f *files) run(ctx context.Context) (FilesResult, error) {
	mark, err := f.place.open(f.m)
	if err != nil {
		return FilesResult{}, err
	}
	f.res = FilesResult{Bytes: f.m.TotalBytes, Files: len(f.m.Files)}
	if mark.State == stateComplete && f.place.hasControl() {
		return f.res, nil
	}
	f.plan = newPlan(f.m)
	if err := f.lay(ctx, mark); err != nil {
		return FilesResult{}, f.place.judge(err, f.plan)
	}
	if err := f.reuse(ctx); err != nil {
		return FilesResult{}, f.place.judge(err, f.plan)
	}
	if err := f.fill(ctx, mark.resumed); err != nil {
		return FilesResult{}, f.place.judge(err, f.plan)
	}
	if err := f.finish(mark); err != nil {
		return FilesResult{}, f.place.judge(err, f.plan)
	}
	f.res.Fetched = f.plan.fetched.Load()
	return f.res, nil
}

// lay makes folders and files at their full length, and finds out what an earlier attempt has filled.
func (f *files) lay(ctx context.Context, mark marker) error {
	if err := f.place.makeFolders(f.m); err != nil {
		return err
	}
	if err := f.place.makeFiles(ctx, f.plan, f.Parallel, mark.resumed); err != nil {
		return err
	}
	f.res.Reused = f.plan.reused.Load()
	return f.place.writeTablespaceMap(f.m)
}

// fill fetches what is missing and tells how far it is.
func (f *files) fill(ctx context.Context, resumed bool) error {
	whole, deltas, err := f.plan.locate(ctx, f.Store)
	if err != nil {
		return err
	}
	if whole, err = f.withoutBases(ctx, whole, resumed); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- f.fetch(ctx, whole, deltas) }()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			f.tell()
			return err
		case <-tick.C:
			f.tell()
		}
	}
}

func (f *files) tell() {
	if f.Progress != nil {
		f.Progress(f.plan.done.Load(), f.plan.total)
	}
}

// finish makes everything durable, then lets the directory start.
func (f *files) finish(mark marker) error {
	if err := f.place.sync(f.m); err != nil {
		return err
	}
	mark.State = stateComplete
	if err := f.place.writeMarker(mark); err != nil {
		return err
	}
	return f.place.writeControl(f.plan.control)
}
