// Package ports gives ports to servers of tests and of development environments, each to one of them alone.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/smartdr/smartdr/internal/fault"
)

// Ports that servers get lie below the range that the kernel takes for outgoing connections (32768 on Linux), so that
// a server that was killed finds its port free when it comes back.
const (
	firstPort = 15000
	lastPort  = 30000
)

var held struct {
	sync.Mutex
	locks []*os.File // never closed: a lock says that the port belongs to this process until it ends
}

// Free returns a port on 127.0.0.1 that nobody listens on and that Free gives to nobody else on this host,
// in this process or another one, until this process ends.
func Free() (int, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		ok, err := reserve(port)
		if err != nil {
			return 0, err
		}
		if ok {
			return port, nil
		}
	}
	return 0, fault.Newf(fault.Transient, "find a free port", "none of 1000 tried between %d and %d is free", firstPort, lastPort)
}

// Row reserves n ports in a row, as Free does one, and returns the first.
func Row(n int) (int, error) {
	for range 100 {
		first, err := Free()
		if err != nil {
			return 0, err
		}
		ok, err := reserveNext(first, n-1)
		if ok || err != nil {
			return first, err
		}
	}
	return 0, fault.Newf(fault.Transient, "find free ports", "no %d in a row", n)
}

func reserveNext(first, n int) (bool, error) {
	for i := range n {
		ok, err := reserve(first + 1 + i)
		if !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// dir is shared by all that run on a machine: a test that gives what it tries another folder for temporary files changes nothing of it.
var dir = filepath.Join(os.TempDir(), fmt.Sprintf("smartdr-ports-%d", os.Getuid()))

func reserve(port int) (bool, error) {
	f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(port)), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return false, f.Close()
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false, f.Close()
	}
	held.Lock()
	held.locks = append(held.locks, f)
	held.Unlock()
	return true, l.Close()
}

// IfFree reserves a port, and returns 0 when it is taken.
func IfFree(port int) int {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0
	}
	if ok, err := reserve(port); !ok || err != nil {
		return 0
	}
	return port
}
