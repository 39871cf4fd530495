//go:build !linux

package devenv

import (
	"os/exec"
	"syscall"
)

// procAttr cannot promise more than a session of its own: only Linux has a parent-death signal.
func procAttr(bool) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func startOnLastingThread(cmd *exec.Cmd) error { return cmd.Start() }
