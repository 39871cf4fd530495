package restore

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smartdr/smartdr/internal/snapshot"
)

// noFollow keeps a link that somebody planted from leading a write elsewhere.
const noFollow = unix.O_NOFOLLOW

// startWriteback has the kernel write a range to disk now and not when memory is full, so that the sync at the end
// finds little left to do. It is advice: small files are left to that sync.
func startWriteback(f *os.File, off, n int64) {
	if n == snapshot.ChunkSize {
		_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
	}
}

// sync makes everything restored durable, by one call for each file system: thousands of small files would each cost
// a journal commit otherwise. Errors of earlier writes are reported since Linux 5.8.
func (p *place) sync(*snapshot.Manifest) error {
	dirs := []string{p.data}
	for _, dir := range p.spaces {
		dirs = append(dirs, dir)
	}
	for _, dir := range dirs {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(unix.Syncfs(int(d.Fd())), d.Close()); err != nil {
			return err
		}
	}
	return nil
}
