package devenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
)

// State is what is written down of an Env that outlives its process, so that another one can end it.
type State struct {
	Dir         string     `json:"dir"`
	TemporalUI  string     `json:"temporalUI"`
	Temporal    string     `json:"temporal"` // host:port
	ServerURL   string     `json:"serverURL"`
	Stores      []string   `json:"stores"` // URLs
	Processes   []Recorded `json:"processes"`
	StartedAt   time.Time  `json:"startedAt"`
	PasswordsAt string     `json:"passwordsAt,omitempty"`
}

// Recorded names a process beyond doubt: its number may be another's later, its start time not.
type Recorded struct {
	Name  string `json:"name"`
	PID   int    `json:"pid"`
	Start string `json:"start"` // as /proc/<pid>/stat has it; empty where there is no /proc
}

// State describes the processes that run now. PostgreSQL servers describe themselves.
func (e *Env) State() State {
	s := State{Dir: e.Dir, Temporal: e.Temporal.Addr(), TemporalUI: e.Temporal.UIURL(), StartedAt: time.Now().UTC()}
	s.record(e.Temporal.Process)
	for _, name := range []string{Primary, Secondary} {
		r := e.Regions[name]
		s.record(r.Gateway.Process)
		for _, h := range r.Hosts {
			s.record(h.Worker)
		}
		s.Stores = append(s.Stores, r.Gateway.S3Config().Endpoint)
	}
	if e.Server != nil {
		s.ServerURL = e.Server.URL(e.Server.Superuser, "postgres")
	}
	return s
}

func (s *State) record(p *Process) {
	if p != nil {
		s.Processes = append(s.Processes, Recorded{p.command.Name, p.PID(), startedAt(p.PID())})
	}
}

func stateFile(dir string) string { return filepath.Join(dir, "state.json") }

// Save writes the state into a folder.
func (s State) Save(dir string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(stateFile(dir), append(b, '\n'), 0o600)
}

// LoadState reads what Save wrote; fault.Missing when there is nothing.
func LoadState(dir string) (State, error) {
	var s State
	b, err := os.ReadFile(stateFile(dir))
	if errors.Is(err, os.ErrNotExist) {
		return s, fault.New(fault.Missing, "read state", err)
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	return s, err
}

// Running returns the names of the recorded processes that run still.
func (s State) Running() (names []string) {
	for _, p := range s.Processes {
		if p.alive() {
			names = append(names, p.Name)
		}
	}
	return names
}

func (r Recorded) alive() bool { return Alive(r.PID) && startedAt(r.PID) == r.Start }

// Down ends everything that the state speaks of, and waits until it is gone.
func (s State) Down(ctx context.Context) error {
	var errs []error
	for _, p := range s.Processes {
		if p.alive() {
			errs = append(errs, p.kill(ctx))
		}
	}
	servers, err := serversBelow(s.Dir)
	errs = append(errs, err)
	for _, srv := range servers {
		errs = append(errs, srv.Kill(ctx))
	}
	return errors.Join(errs...)
}

// kill polls for the end: the process is not our child.
func (r Recorded) kill(ctx context.Context) error {
	if err := syscall.Kill(r.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill %s: %w", r.Name, err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for r.alive() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s (process %d) does not end: %w", r.Name, r.PID, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// Leftovers returns the processes that work in a folder or were started with it in their arguments, other than this
// one, as "pid name". It sees nothing where there is no /proc.
func Leftovers(dir string) (found []string) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || !Alive(pid) {
			continue
		}
		args, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline")) // it may be gone meanwhile
		cwd, _ := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		if strings.Contains(string(args), dir) || strings.HasPrefix(cwd, dir) {
			found = append(found, fmt.Sprintf("%d %s", pid, strings.ReplaceAll(string(args), "\x00", " ")))
		}
	}
	return found
}

// DevDir returns the folder of the regions that `make dev` starts: .dev in the repository, or, when PostgreSQL has to
// run as another account that cannot go there, one below /var/tmp.
func DevDir() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	if os.Geteuid() == 0 && !openToAll(root) {
		return "/var/tmp/smartdr-dev", nil
	}
	return filepath.Join(root, ".dev"), nil
}

// openToAll reports whether every account can go to dir.
func openToAll(dir string) bool {
	for d := dir; ; d = filepath.Dir(d) {
		fi, err := os.Stat(d)
		if err != nil || fi.Mode()&0o001 == 0 {
			return false
		}
		if d == filepath.Dir(d) {
			return true
		}
	}
}
