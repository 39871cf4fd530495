package devenv

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

func procAttr(dieWithParent bool) *syscall.SysProcAttr {
	if dieWithParent {
		// A group of its own all the same: ^C in a terminal is for the parent, which ends things in order.
		return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	}
	return &syscall.SysProcAttr{Setsid: true}
}

// starter is a thread that lives as long as the process. The kernel sends a child's parent-death signal when the thread
// that started it ends (prctl(2), PR_SET_PDEATHSIG), and the Go runtime ends threads as it likes.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

func startOnLastingThread(cmd *exec.Cmd) error {
	result := make(chan error)
	starter() <- func() { result <- cmd.Start() }
	return <-result
}
