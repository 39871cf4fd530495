package postgres

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// pollEvery is how often a condition is asked for that nothing announces: the state of a process that is not our
// child, or of a file that the server writes.
const pollEvery = 20 * time.Millisecond

// pause waits, and returns ctx's error when that ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// pidFile is the server's lock file in its data directory (src/include/utils/pidfile.h).
const pidFile = "postmaster.pid"

// lockFile is what postmaster.pid says.
type lockFile struct {
	pid    int
	status string  // "starting", "stopping", "ready", "standby"; empty in a server's first moments
	memory segment // zero in a server's first moments
}

func (s *Server) readLockFile() (lockFile, bool) {
	b, err := os.ReadFile(s.dataPath(pidFile))
	if err != nil {
		return lockFile{}, false
	}
	lines := strings.Split(string(b), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid <= 0 {
		return lockFile{}, false
	}
	l := lockFile{pid: pid}
	if len(lines) >= 7 {
		l.memory = parseSegment(lines[6])
	}
	if len(lines) >= 8 {
		l.status = strings.TrimSpace(lines[7])
	}
	return l, true
}

// Running returns the server's process, if it runs.
func (s *Server) Running(context.Context) (pid int, running bool) {
	l, running := s.heldLock()
	return l.pid, running
}

// heldLock returns the lock file of a server that runs. A lock file alone proves nothing: the process may be dead, and its
// number taken by another. So the process must be a postgres in this data directory, and not the child of one.
func (s *Server) heldLock() (lockFile, bool) {
	l, ok := s.readLockFile()
	if !ok || !s.isServerProcess(l.pid) {
		return lockFile{}, false
	}
	if parent, ok := parentOf(l.pid); ok && s.isServerProcess(parent) {
		return lockFile{}, false
	}
	return l, true
}

// isServerProcess reports whether a process is a postgres whose working directory is our data directory. A zombie has
// neither. A process of another account cannot be looked at, and is not ours.
func (s *Server) isServerProcess(pid int) bool {
	if pid <= 1 || pid == os.Getpid() {
		return false
	}
	exe, err := os.Readlink(programOf(pid))
	if err != nil {
		return false
	}
	exe = strings.TrimSuffix(exe, " (deleted)") // the installation was upgraded meanwhile
	if base := filepath.Base(exe); base != "postgres" && base != "postmaster" {
		return false
	}
	return s.inDataDir(pid)
}

// inDataDir reports whether a process works in our data directory: not by path, as the folder may be reached through links. When a
// process ends, the kernel takes its program first, then its memory, then its working directory (do_exit): until that is gone it may
// hold shared memory.
func (s *Server) inDataDir(pid int) bool {
	cwd, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	if err != nil {
		return false
	}
	data, err := os.Stat(s.DataDir)
	return err == nil && os.SameFile(cwd, data)
}

// parentOf reads the parent of a process. The name in the second field of /proc/<pid>/stat may hold anything, so fields are
// counted from its closing parenthesis.
func parentOf(pid int) (int, bool) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, false
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 2 {
		return 0, false
	}
	ppid, err := strconv.Atoi(string(fields[1]))
	return ppid, err == nil
}

// programOf is the link to what a process runs.
func programOf(pid int) string { return filepath.Join("/proc", strconv.Itoa(pid), "exe") }

// processes lists every process of this server, also those that outlived their postmaster for a moment.
func (s *Server) processes() []int {
	return slices.DeleteFunc(allProcesses(), func(pid int) bool { return !s.isServerProcess(pid) })
}

// leaving lists the processes of the data directory that are ending: their program is gone already, their folder is not. A server
// that starts meanwhile gives up, as they may hold shared memory.
func (s *Server) leaving() []int {
	return slices.DeleteFunc(allProcesses(), func(pid int) bool {
		if !s.inDataDir(pid) {
			return true
		}
		_, err := os.Readlink(programOf(pid))
		return !errors.Is(err, os.ErrNotExist)
	})
}

// allProcesses lists the processes of the host.
func allProcesses() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// waitUntilNone waits until left, asked again and again, names no process any more.
func waitUntilNone(ctx context.Context, left func() []int) error {
	for len(left()) > 0 {
		if err := pause(ctx, pollEvery); err != nil {
			return err
		}
	}
	return nil
}

// signalPID is kill(2), for which a process that is gone is no error.
func signalPID(pid int, sig syscall.Signal) error {
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// ReplayedFile returns the name of the segment file that the process which replays WAL is at, as its title says: "startup
// recovering <file>", and "startup waiting for <file>" from time to time. It is empty when there is no such process.
func (s *Server) ReplayedFile() string {
	for _, pid := range s.processes() {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if title := strings.Fields(strings.TrimRight(string(b), "\x00 ")); err == nil && slices.Contains(title, "startup") {
			return title[len(title)-1]
		}
	}
	return ""
}
