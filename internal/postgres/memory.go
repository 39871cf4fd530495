package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

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

// free gives the segment of a server that was killed back to the kernel, which would keep it until the host restarts, and with it the
// POSIX shared memory of the server. A segment that is another by now, or that somebody uses, is left alone.
func (m segment) free() error {
	var now unix.SysvShmDesc
	if m == (segment{}) {
		return nil
	}
	_, err := unix.SysvShmCtl(m.id, unix.IPC_STAT, &now)
	if err == nil && now.Perm.Key == m.key && now.Nattch == 0 {
		err = m.freeDynamic()
		_, rm := unix.SysvShmCtl(m.id, unix.IPC_RMID, nil)
		err = errors.Join(err, rm)
	}
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EIDRM) && !errors.Is(err, unix.EACCES) {
		return fault.New(fault.Transient, "free shared memory", err)
	}
	return nil
}

// The segment begins with a PGShmemHeader (storage/pg_shmem.h), which names the control segment of what is allocated while the server
// runs; that is a file of dynamicPlace and lists the others (dsm_control_header in storage/ipc/dsm.c). A next start on the same data
// would read them likewise. The same in PostgreSQL 15 to 18, on 64 bits.
const (
	headerMagic, controlMagic = 679834894, 0x9a503d32
	controlAt                 = 24 // of the handle, in the header
	itemsAt, itemSize         = 16, 40
	dynamicPlace              = "/dev/shm/PostgreSQL.%d" // of shm_open(3) on Linux
)

// freeDynamic removes the POSIX shared memory that the segment leads to. What doesn't look like it is left alone.
func (m segment) freeDynamic() error {
	header, err := unix.SysvShmAttach(m.id, 0, unix.SHM_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = unix.SysvShmDetach(header) }() // fails only for what isn't attached
	handle := binary.NativeEndian.Uint32
	if len(header) < controlAt+4 || handle(header) != headerMagic {
		return nil
	}
	control := fmt.Sprintf(dynamicPlace, handle(header[controlAt:]))
	list, err := os.ReadFile(control)
	if err != nil || len(list) < itemsAt || handle(list) != controlMagic {
		return nil // shared memory of another kind, or none
	}
	for items, left := list[itemsAt:], handle(list[4:]); left > 0 && len(items) >= itemSize; items, left = items[itemSize:], left-1 {
		if n, users := handle(items), handle(items[4:]); users > 0 && n%2 == 0 { // odd ones lie within the server's main memory
			err = errors.Join(err, removeFile(fmt.Sprintf(dynamicPlace, n)))
		}
	}
	return errors.Join(err, removeFile(control))
}
