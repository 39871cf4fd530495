package devenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
)

// Command describes a server process.
type Command struct {
	Name    string // for people, as "versitygw of region west"
	Path    string
	Args    []string
	Env     []string // added to this process's
	LogFile string   // gets standard output and error, appended
	// DieWithParent kills the process when this one ends, however it ends (Linux). Without it the process lives on in
	// a session of its own.
	DieWithParent bool
	// Ready is tried until it returns nil; nil means that a process is ready as soon as it runs.
	Ready func(context.Context) error
	// Sick is asked now and then once the process is ready: an error says what only another start mends, which it then gets. Only
	// where it dies with this process; nil means that it never is.
	Sick func(context.Context) error
}

// readyWithin is how long a server may take to get ready where the caller's ctx says nothing shorter. Generous: on a
// busy host of two cores Temporal takes 10 s.
const readyWithin = 3 * time.Minute

// Process is a server that was started and can be killed and started again.
type Process struct {
	command Command

	turn sync.Mutex // held while it is ended, or started anew for being sick

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// Start starts the process and waits until it is ready.
func (c Command) Start(ctx context.Context) (*Process, error) {
	p := &Process{command: c}
	return p, p.start(ctx)
}

func (p *Process) start(ctx context.Context) error {
	if err := p.launch(); err != nil {
		return fault.New(fault.Transient, "start "+p.command.Name, err)
	}
	if err := p.waitReady(ctx); err != nil {
		_ = p.Kill() // it is of no use, and the first error says why
		return err
	}
	if p.command.Sick != nil && p.command.DieWithParent {
		go p.heal(p.Done())
	}
	return nil
}

func (p *Process) launch() error {
	c := p.command
	if err := os.MkdirAll(filepath.Dir(c.LogFile), 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(c.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = procAttr(c.DieWithParent)
	if err := startOnLastingThread(cmd); err != nil {
		return err
	}
	done := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.done = cmd, done
	p.mu.Unlock()
	go func() {
		_ = cmd.Wait() // how it ended is in its log; that it ended is what matters here
		close(done)
	}()
	return nil
}

// waitReady polls the condition: none of these servers tells its parent when it is ready. Most of the time is left to the process.
func (p *Process) waitReady(ctx context.Context) error {
	if p.command.Ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		began := time.Now()
		err := p.command.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.Done():
			return fault.Newf(fault.Transient, "start "+p.command.Name, "it ended at once; its log ends with:\n%s", tail(p.command.LogFile)).WithHint("see %s", p.command.LogFile)
		case <-ctx.Done():
			return fault.Newf(fault.Transient, "start "+p.command.Name, "it does not get ready: %w", err).WithHint("see %s", p.command.LogFile)
		case <-time.After(min(max(20*time.Millisecond, 2*time.Since(began)), time.Second)):
		}
	}
}

// PID returns the process's number, that of the last start.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// Done is closed once the process that was started last has ended.
func (p *Process) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// LogFile returns where the process's output is.
func (p *Process) LogFile() string { return p.command.LogFile }

// LogTail returns the end of the process's output.
func (p *Process) LogTail() string { return tail(p.command.LogFile) }

// Kill ends the process with SIGKILL and waits until it is gone. Killing a process that has ended is no error.
func (p *Process) Kill() error { return p.signal(syscall.SIGKILL, 0) }

// Stop asks the process to end, and kills it after 30 s: a worker lets its activities finish for 20 s.
func (p *Process) Stop() error { return p.signal(syscall.SIGTERM, 30*time.Second) }

func (p *Process) signal(sig os.Signal, patience time.Duration) error {
	p.turn.Lock()
	defer p.turn.Unlock()
	return p.end(sig, patience)
}

func (p *Process) end(sig os.Signal, patience time.Duration) error {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.command.Name, err)
	}
	if patience > 0 {
		select {
		case <-done:
			return nil
		case <-time.After(patience):
			return p.end(syscall.SIGKILL, 0)
		}
	}
	<-done
	return nil
}

// Restart starts the process again with the same arguments, after killing it if it still runs, and waits until it
// is ready.
func (p *Process) Restart(ctx context.Context) error {
	if err := p.Kill(); err != nil {
		return err
	}
	return p.start(ctx)
}

// tail returns the last lines of a log, up to 2 KiB.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	if len(b) > 2048 {
		b = b[len(b)-2048:]
	}
	return string(bytes.TrimSpace(b))
}
