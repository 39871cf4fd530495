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

// free gives the segment of a server that was killed back to the kernel, which would keep it until the host restarts. One that
// is another by now, or that somebody uses, is left alone.
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

// The segment begins with a PGShmemHeader (storage/pg_shmem.h), which names the control segment of what is allocated while the server
// runs; that is a file of dynamicPlace and lists the others (dsm_control_header in storage/ipc/dsm.c). A next start on the same data
// would read them likewise. The same in PostgreSQL 15 to 18, on 64 bits.
const (
	headerMagic, controlMagic = 679834894, 0x9a503d32
	controlAt                 = 24 // of the handle, in the header
	itemsAt, itemSize         = 16, 40
	dynamicPlace              = "/dev/shm/PostgreSQL.%d" // of shm_open(3) on Linux
)

// dynamic returns the file that lists a server's POSIX shared memory, or "". It is asked while the server runs: whoever looks later is taken
// for a process of it by a postmaster that starts, which then gives up.
func (m segment) dynamic() string {
	if m == (segment{}) {
		return ""
	}
	header, err := unix.SysvShmAttach(m.id, 0, unix.SHM_RDONLY)
	if err != nil {
		return ""
	}
	defer func() { _ = unix.SysvShmDetach(header) }() // fails only for what isn't attached
	handle := binary.NativeEndian.Uint32
	if len(header) < controlAt+4 || handle(header) != headerMagic {
		return ""
	}
	return fmt.Sprintf(dynamicPlace, handle(header[controlAt:]))
}

// freeDynamic removes the POSIX shared memory that a file lists, and the file. What doesn't look like one is left alone.
func freeDynamic(control string) error {
	if control == "" {
		return nil
	}
	list, err := os.ReadFile(control)
	number := binary.NativeEndian.Uint32
	if err != nil || len(list) < itemsAt || number(list) != controlMagic {
		return nil // shared memory of another kind, or none any more
	}
	for items, left := list[itemsAt:], number(list[4:]); left > 0 && len(items) >= itemSize; items, left = items[itemSize:], left-1 {
		if handle, users := number(items), number(items[4:]); users > 0 && handle%2 == 0 { // odd ones lie within the server's main memory
			err = errors.Join(err, removeFile(fmt.Sprintf(dynamicPlace, handle)))
		}
	}
	return errors.Join(err, removeFile(control))
}
