package restore

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smartdr/smartdr/internal/snapshot"
)

// noFollow keeps a link that somebody planted from leading a write elsewhere.
const noFollow = unix.O_NOFOLLOW

// noWait opens a pipe without waiting for its other end.
const noWait = unix.O_NONBLOCK

// cloneRange lets a range of one file have the blocks of another's (ioctl_ficlonerange(2)): no bytes are copied, and none take room
// twice. Most file systems cannot; tests put another one in its place.
var cloneRange = func(to, from *os.File, at, n int64) error {
	return unix.IoctlFileCloneRange(int(to.Fd()), &unix.FileCloneRange{
		Src_fd: int64(from.Fd()), Src_offset: uint64(at), Src_length: uint64(n), Dest_offset: uint64(at),
	})
}

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
