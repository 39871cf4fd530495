package devenv

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
)

// Alive reports whether a process of that number runs. One that ended and was not waited for does not.
func Alive(pid int) bool {
	if err := syscall.Kill(pid, 0); err != nil && err != syscall.EPERM {
		return false
	}
	state, _ := procStat(pid)
	return state != "Z"
}

// startedAt returns when a process started, in the kernel's own unit, or "" where /proc does not say. With its
// number it tells a process from a later one that got the same number.
func startedAt(pid int) string {
	_, start := procStat(pid)
	return start
}

// procStat reads the state and the start time of a process: fields 3 and 22 of proc_pid_stat(5).
func procStat(pid int) (state, start string) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", ""
	}
	// The name, field 2, is in parentheses and may hold anything, so count from the last one.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 20 {
		return "", ""
	}
	return string(fields[0]), string(fields[19])
}
