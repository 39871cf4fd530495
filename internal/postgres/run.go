package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/smartdr/smartdr/internal/fault"
)

// child is a server that this process started and therefore has to wait for.
type child struct {
	pid    int
	logged int64         // where this run's log begins in LogFile
	exited chan struct{} // closed when it has ended
}

// maxSocketDir keeps the socket's path within sockaddr_un's 107 bytes.
const maxSocketDir = 90

// Start starts the server if it does not run, and waits until it takes connections; a standby without hot_standby
// never does, and is waited for until it recovers. A server that ends by itself is judged by WhyEnded.
func (s *Server) Start(ctx context.Context) error {
	if err := s.Launch(ctx); err != nil {
		return err
	}
	for {
		l, _ := s.readLockFile()
		if l.status == "ready" || l.status == "standby" {
			return nil
		}
		if _, running := s.Running(ctx); !running {
			return s.WhyEnded()
		}
		if err := pause(ctx, pollEvery); err != nil {
			return fault.Newf(fault.Transient, "start server", "it is not ready yet: %w", err)
		}
	}
}

// Launch starts the server if it does not run, and returns when it holds its data directory, long before it takes connections.
func (s *Server) Launch(ctx context.Context) error {
	if running, err := s.awaitEarlier(ctx); running || err != nil {
		return err
	}
	if err := s.prepareStart(); err != nil {
		return err
	}
	c, err := s.spawn()
	if err != nil {
		return err
	}
	s.child = c
	for {
		if pid, running := s.Running(ctx); running && pid == c.pid {
			return nil
		}
		select {
		case <-c.exited:
			return s.WhyEnded()
		default:
		}
		if err := pause(ctx, pollEvery); err != nil {
			return fault.New(fault.Transient, "start server", err)
		}
	}
}

// awaitEarlier waits until processes of this data directory either are a server, which somebody started a moment ago, or
// gone, as those are that outlive their postmaster.
func (s *Server) awaitEarlier(ctx context.Context) (running bool, err error) {
	for {
		if _, running := s.Running(ctx); running {
			return true, nil
		}
		if len(s.processes()) == 0 && len(s.leaving()) == 0 {
			return false, nil
		}
		if err := pause(ctx, pollEvery); err != nil {
			return false, fault.Newf(fault.Transient, "start server", "processes of an earlier server still run: %w", err)
		}
	}
}

// prepareStart removes locks that another process's number keeps alive, and makes the socket's folder.
func (s *Server) prepareStart() error {
	const op = "start server"
	if len(s.SocketDir) == 0 || len(s.SocketDir) > maxSocketDir {
		return fault.Newf(fault.Invalid, op, "the socket folder %q has %d bytes, want 1 to %d", s.SocketDir, len(s.SocketDir), maxSocketDir).
			WithHint("Choose a shorter folder.")
	}
	if l, ok := s.readLockFile(); ok && syscall.Kill(l.pid, 0) == nil {
		if err := removeFile(s.dataPath(pidFile)); err != nil {
			return err
		}
	}
	if err := s.removeEmptyLock(); err != nil {
		return err
	}
	if err := s.removeStaleSocketLock(); err != nil {
		return err
	}
	return s.makeDir(s.SocketDir)
}

// removeEmptyLock removes what a server leaves that was killed between making its lock file and writing into it: the next one
// refuses to start (CreateLockFile in miscinit.c). Who made it worked in the data directory before, so its process is looked for
// after the file was seen: while there is one, it may be about to write.
func (s *Server) removeEmptyLock() error {
	lock, err := os.Stat(s.dataPath(pidFile))
	if err != nil || lock.Size() != 0 || len(s.processes()) > 0 {
		return nil
	}
	return removeFile(s.dataPath(pidFile))
}

// removeStaleSocketLock removes the lock beside the socket, which holds a process number too. The folder is this
// server's alone, and nothing of it runs.
func (s *Server) removeStaleSocketLock() error {
	socket := filepath.Join(s.SocketDir, ".s.PGSQL."+strconv.Itoa(s.Port))
	if err := removeFile(socket + ".lock"); err != nil {
		return err
	}
	return removeFile(socket)
}

func (s *Server) spawn() (*child, error) {
	const op = "start server"
	log, err := os.OpenFile(s.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fault.New(fault.Transient, op, err)
	}
	defer log.Close()
	end, err := log.Seek(0, 2)
	if err = errors.Join(err, s.Own(s.LogFile)); err != nil {
		return nil, fault.New(fault.Transient, op, err)
	}
	cmd := exec.Command(s.Bin.Path("postgres"), s.arguments()...)
	// The working directory tells whose process it is, even before it holds the lock: see isServerProcess.
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.DataDir, environment(), log, log
	// A session of its own: signals to the worker's terminal do not reach it, and it outlives the worker.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: s.Account.credential()}
	c := &child{logged: end, exited: make(chan struct{})}
	if err := s.startAndWait(cmd, c); err != nil {
		return nil, fault.New(fault.Invalid, op, err).WithHint("Check that %s exists and that the server's account may run it.", cmd.Path)
	}
	return c, nil
}

// startAndWait starts cmd and waits for its end on a goroutine of its own. With DieWithParent that goroutine keeps its thread:
// the kernel sends the signal when the thread that started the process ends, not the process.
func (s *Server) startAndWait(cmd *exec.Cmd, c *child) error {
	started := make(chan error)
	go func() {
		if s.DieWithParent {
			runtime.LockOSThread()
			cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT
		}
		err := cmd.Start()
		if err == nil {
			c.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			_ = cmd.Wait() // its log says how it ended
			close(c.exited)
		}
	}()
	return <-started
}

// arguments gives every setting as -c, which wins over all that the data directory's files say, and over ALTER SYSTEM.
func (s *Server) arguments() []string {
	settings := map[string]string{
		"log_line_prefix": "%m [%p] ", "hba_file": s.HBAFile(), "ident_file": s.IdentFile(),
	}
	maps.Copy(settings, s.Settings)
	maps.Copy(settings, map[string]string{
		"data_directory": s.DataDir, "external_pid_file": filepath.Join(s.InstanceDir(), "server.pid"),
		"listen_addresses": s.Listen, "port": strconv.Itoa(s.Port), "unix_socket_directories": quoteListItem(s.SocketDir),
		"logging_collector": "off", "log_destination": "stderr", "lc_messages": "C", // LogFile is read by programs
	})
	args := []string{"-D", s.DataDir}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}

// quoteListItem quotes an item of a list setting, which otherwise ends at a comma and loses its spaces.
func quoteListItem(item string) string { return `"` + strings.ReplaceAll(item, `"`, `""`) + `"` }

// WhyEnded says from its log why a server that should run does not: fault.Invalid when it gave up, fault.Full when
// the disk has no room, fault.Corrupt when it met data that cannot be (a PANIC), fault.Transient when it was killed.
func (s *Server) WhyEnded() error {
	log := ofServer(s.Log())
	lines := complaints(log)
	err := fault.Newf(fault.Transient, "run server", "it ended by itself: %s", strings.Join(lines, "; "))
	switch {
	case mentions(log, "No space left on device"):
		err.Kind = fault.Full
	case mentions(log, "Address already in use"):
		err.Kind = fault.Invalid
		return err.WithHint("Port %d is taken on this host: choose another.", s.Port)
	case mentions(log, `lock file "postmaster.pid" already exists`), mentions(log, `lock file "postmaster.pid" is empty`): // somebody else started it at the same time
	case hasSeverity(log, "PANIC"):
		err.Kind = fault.Corrupt
	case mentions(log, "shutdown request"): // somebody told it to; what its clients were told is no reason
	case hasSeverity(log, "FATAL"), hasSeverity(log, ""):
		err.Kind = fault.Invalid
	}
	return err.WithHint("The whole log is in %s on the server's host.", s.LogFile)
}

func hasSeverity(log []LogLine, severity string) bool {
	return slices.ContainsFunc(log, func(l LogLine) bool { return l.Severity == severity })
}

// ofServer leaves out what a server told its clients at their end: that they may not get in, or came at the wrong time. Those are
// FATAL too, for the client's process. The server itself ends by one of the first process, or of another whose end the first one noticed.
func ofServer(log []LogLine) []LogLine {
	first := 0
	if at := slices.IndexFunc(log, func(l LogLine) bool { return strings.HasPrefix(l.Text, started) }); at >= 0 {
		first = log[at].PID
	}
	return slices.DeleteFunc(slices.Clone(log), func(l LogLine) bool {
		switch {
		case l.Severity != "FATAL":
			return false
		case strings.HasPrefix(l.Text, "the database system is "):
			return true
		}
		noticed := fmt.Sprintf("(PID %d) ", l.PID)
		return first != 0 && l.PID != first && !mentions(log, noticed)
	})
}

func mentions(log []LogLine, text string) bool {
	return slices.ContainsFunc(log, func(l LogLine) bool { return strings.Contains(l.Text, text) })
}

// complaints returns the messages of a log that say why a server gave up.
func complaints(log []LogLine) []string {
	var out []string
	for _, l := range log {
		switch l.Severity {
		case "FATAL", "PANIC", "ERROR", "WARNING", "HINT", "DETAIL", "":
			out = append(out, strings.TrimSpace(l.Severity+" "+l.Text))
		}
	}
	if len(out) == 0 {
		return []string{"it logged no reason"}
	}
	return out[max(0, len(out)-6):]
}

// Stop ends the server and waits until it is gone. One that does not run is fine. Fast waits without limit while a
// receiver of WAL does not acknowledge, so give ctx an end.
func (s *Server) Stop(ctx context.Context, mode StopMode) error {
	sig, ok := map[StopMode]syscall.Signal{Smart: syscall.SIGTERM, Fast: syscall.SIGINT, Immediate: syscall.SIGQUIT}[mode]
	if !ok {
		return fault.Newf(fault.Invalid, "stop server", "no such mode: %q", mode)
	}
	pid, running := s.Running(ctx)
	if running {
		if err := signalPID(pid, sig); err != nil {
			return fault.New(fault.Transient, "stop server", err)
		}
	}
	if err := waitUntilNone(ctx, s.processes); err != nil {
		return fault.Newf(fault.Transient, "stop server", "it still runs: %w", err)
	}
	return nil
}

// Kill ends every process of the server with SIGKILL, as a crash of the host would.
func (s *Server) Kill(ctx context.Context) error {
	var ending []int
	kill := func(pid int) error {
		ending = append(ending, pid)
		if err := signalPID(pid, syscall.SIGKILL); err != nil {
			return fault.New(fault.Transient, "kill server", err)
		}
		return nil
	}
	l, running := s.heldLock()
	dynamic := l.memory.dynamic()
	if running { // first, so that it starts no more children
		if err := kill(l.pid); err != nil {
			return err
		}
	}
	for _, pid := range s.processes() {
		if err := kill(pid); err != nil {
			return err
		}
	}
	ending = append(ending, s.leaving()...)
	// Only for these: whoever keeps the server running may have started it again already.
	left := func() []int {
		ending = slices.DeleteFunc(ending, func(pid int) bool { return !s.inDataDir(pid) })
		return ending
	}
	if err := waitUntilNone(ctx, left); err != nil {
		return fault.Newf(fault.Transient, "kill server", "it still runs: %w", err)
	}
	return errors.Join(l.memory.free(), freeDynamic(dynamic)) // as the crash of a host would
}

// Promote asks a standby to become a primary, by file and signal as pg_ctl does, so that it works when no connection
// can be made. It returns when pg_control says that the server is in production, which is when the new timeline can
// no longer be taken back.
func (s *Server) Promote(ctx context.Context) error {
	const op = "promote server"
	pid, running := s.Running(ctx)
	if !running {
		return fault.Newf(fault.Transient, op, "it does not run")
	}
	if err := s.writeFile(s.dataPath(promoteSignal), nil); err != nil {
		return err
	}
	if err := signalPID(pid, syscall.SIGUSR1); err != nil {
		return fault.New(fault.Transient, op, err)
	}
	return s.WaitPromoted(ctx)
}

// WaitPromoted waits until pg_control says that the server is in production.
func (s *Server) WaitPromoted(ctx context.Context) error {
	const op = "promote server"
	for {
		c, err := s.ControlData(ctx)
		if err != nil {
			return err
		}
		if c.State == InProduction {
			return nil
		}
		if _, running := s.Running(ctx); !running {
			return s.WhyEnded()
		}
		if err := pause(ctx, pollEvery); err != nil {
			return fault.New(fault.Transient, op, err)
		}
	}
}
