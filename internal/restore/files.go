package restore

import (
	"context"
	"errors"
	"log/slog"

	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/snapshot"
)

// FilesInput says which snapshot's files to restore, and where.
type FilesInput struct {
	Store    objectstore.Store // a region's root store
	Manifest *snapshot.Manifest
	// DataDir is the data directory to be. Tablespaces go to ../tablespaces/<oid> beside it, and the state of the
	// restore is kept in ../restore.json.
	DataDir  string
	UID, GID int                     // who is to own the files; both 0 means whoever runs this
	Parallel int                     // requests at a time; 0 means four for each processor
	Progress func(done, total int64) // bytes of files; called about twice a second; may be nil
	Log      *slog.Logger
}

// FilesResult says what a restore did.
type FilesResult struct {
	Bytes   int64 // of all files
	Files   int
	Fetched int64 // compressed bytes that came from the bucket
	Reused  int64 // raw bytes that were there already, from an earlier attempt
}

// Files restores a snapshot's files. It can be killed and called again, and then fetches only what is not there. The
// directory does not start before WAL is added: pg_control is written last, with a checkpoint that is invalid unless
// backup_label is followed. Errors: fault.Full (no room), fault.Corrupt (an object is not what was written),
// fault.Missing (an object or chunk is gone), fault.Invalid (the directory is somebody else's).
func Files(ctx context.Context, in FilesInput) (FilesResult, error) {
	return FilesResult{}, errors.New("not there yet")
}
