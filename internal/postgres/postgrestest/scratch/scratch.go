// Package scratch says where tests keep the data of their servers: in memory where there is plenty. A test run makes and removes some
// hundred thousand files, which is most of its work on some file systems, and what a kill leaves is the same on all.
package scratch

import (
	"os"
	"sync"
	"testing"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

const (
	memory = "/dev/shm"
	// plenty is how many bytes must be free, of memory and of what may be kept there. All tests at once take some 3 GB.
	plenty = 10 << 30
)

// Dir returns the folder in which a test makes its own: TMPDIR if that is set, else one in memory with room, else the system's for temporary
// files. Benchmarks, and the long variants of tests (SMARTDR_TEST_FULL=1), which need more, are not kept in memory.
func Dir(t testing.TB) string {
	_, measured := t.(*testing.B)
	if measured || os.Getenv("TMPDIR") != "" || os.Getenv("SMARTDR_TEST_FULL") == "1" || !inMemory() {
		return os.TempDir()
	}
	return memory
}

var inMemory = sync.OnceValue(func() bool { return roomy(memory) })

// roomy reports whether a folder in memory can be used: versitygw keeps what it knows of objects in extended attributes.
func roomy(folder string) bool {
	var fs unix.Statfs_t
	if err := unix.Statfs(folder, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC || fs.Bavail*uint64(fs.Bsize) < plenty {
		return false
	}
	if free, err := available(); err != nil || free < plenty {
		return false
	}
	f, err := os.CreateTemp(folder, "sdr")
	if err != nil {
		return false
	}
	defer os.Remove(f.Name()) //nolint:errcheck // an empty file
	defer f.Close()           //nolint:errcheck // not written to
	return unix.Fsetxattr(int(f.Fd()), "user.smartdr", []byte("x"), 0) == nil
}

// available returns how many bytes of memory can be had without swapping.
func available() (uint64, error) {
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return 0, err
	}
	m, err := proc.Meminfo()
	if err != nil || m.MemAvailableBytes == nil {
		return 0, err
	}
	return *m.MemAvailableBytes, nil
}
