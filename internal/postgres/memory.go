package postgres

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/smartdr/smartdr/internal/fault"
)

// segment is a server's System V shared memory. It holds little more than its place, by which a second postmaster would notice the
// first; the kernel has some thousands of such places for all (SHMMNI, shmget(2)).
type segment struct {
	key int32
	id  int
}

// parseSegment reads the line of postmaster.pid that names it.
func parseSegment(line string) segment {
	var key uint64 // the number that key_t is when its sign is lost
	var id int
	if _, err := fmt.Sscan(line, &key, &id); err != nil {
		return segment{}
	}
	return segment{int32(uint32(key)), id}
}

// free gives the segment of a server that was killed back to the kernel, which would keep it until the host restarts. One that is
// another by now, or that somebody uses, is left alone.
func (m segment) free() error {
	var now unix.SysvShmDesc
	if m == (segment{}) {
		return nil
	}
	_, err := unix.SysvShmCtl(m.id, unix.IPC_STAT, &now)
	if err == nil && now.Perm.Key == m.key && now.Nattch == 0 {
		_, err = unix.SysvShmCtl(m.id, unix.IPC_RMID, nil)
	}
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EIDRM) && !errors.Is(err, unix.EACCES) {
		return fault.New(fault.Transient, "free shared memory", err)
	}
	return nil
}
