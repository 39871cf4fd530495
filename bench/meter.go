package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of CPU time in /proc: USER_HZ, 100 on every architecture of Linux that matters here.
const tick = 0.01

// meter tells what happened on the machine since it was made. Where there is no /proc it tells of this process alone.
type meter struct {
	place  *place
	began  time.Time
	before busy
}

// busy is CPU time in seconds since some start.
type busy struct{ server, storage, self, machine float64 }

func (p *place) meter() *meter { return &meter{p, time.Now(), p.busy()} }

// stop returns the cost of a process that used own CPU seconds since the meter began.
func (m *meter) stop(own float64) cost {
	now, was := m.place.busy(), m.before
	c := cost{Seconds: time.Since(m.began).Seconds(), CPU: own,
		Server: now.server - was.server, Storage: now.storage - was.storage, Load: now.self - was.self}
	c.Others = max(0, now.machine-was.machine-own-c.Server-c.Storage-c.Load)
	return c
}

func (p *place) busy() busy {
	all := readProcesses()
	b := busy{self: ownCPU(), machine: machineCPU()}
	b.server = treeCPU(all, p.serverPID)
	for _, s := range p.stores {
		b.storage += treeCPU(all, s.PID())
	}
	return b
}

type process struct {
	pid, parent int
	cpu, reaped float64 // its own, and that of children it has waited for
}

// treeCPU returns the CPU time of a process, its children, and those children that have ended.
func treeCPU(all []process, pid int) (sum float64) {
	for _, p := range all {
		switch pid {
		case p.pid:
			sum += p.cpu + p.reaped
		case p.parent:
			sum += p.cpu
		}
	}
	return sum
}

func readProcesses() (all []process) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // the only error is a bad pattern
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil { // others end while we look
			if p, ok := parseStat(string(b)); ok {
				all = append(all, p)
			}
		}
	}
	return all
}

// parseStat reads a line of /proc/<pid>/stat, proc(5). The name in parentheses may hold anything.
func parseStat(s string) (p process, ok bool) {
	end := strings.LastIndexByte(s, ')')
	if end < 0 {
		return p, false
	}
	f := strings.Fields(s[end+1:])
	if len(f) < 15 {
		return p, false
	}
	pid, _, _ := strings.Cut(s, " ")
	p.pid, _ = strconv.Atoi(pid)
	p.parent, _ = strconv.Atoi(f[1])
	p.cpu = ticks(f[11]) + ticks(f[12])
	p.reaped = ticks(f[13]) + ticks(f[14])
	return p, true
}

func ticks(s string) float64 {
	n, _ := strconv.ParseInt(s, 10, 64) // the kernel wrote it
	return float64(n) * tick
}

// machineCPU returns the CPU time in which the machine was not idle: the first line of /proc/stat without idle and iowait.
func machineCPU() (sum float64) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(b), "\n")
	for i, f := range strings.Fields(first) {
		if i >= 1 && i <= 8 && i != 4 && i != 5 {
			sum += ticks(f)
		}
	}
	return sum
}

func ownCPU() float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
