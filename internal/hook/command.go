package hook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
)

// lingering is how long a command that was killed, or a child that it left, may hold its output open.
const lingering = 2 * time.Second

// usual are the variables that every command gets, where this process has them. The others stay here: the keys to the buckets
// are among them.
var usual = []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR"}

// run runs the command, with the event on its standard input and in SMARTDR_EVENT_ variables. When its time is over it is
// killed, with what it started.
func (h Hook) run(ctx context.Context, m Message) (string, error) {
	cmd := exec.CommandContext(ctx, h.Command[0], h.Command[1:]...)
	cmd.Stdin = bytes.NewReader(m.Body)
	said := &tail{}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.Env = append(passed(append(usual, h.Env...)), variables(m)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) } // called only while the command has not been waited for
	cmd.WaitDelay = lingering
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState.Success() {
		err = nil // it ended well and left a child behind that holds its output: that is its affair
	}
	var ended *exec.ExitError
	switch {
	case err == nil:
		return "exit code 0", nil
	case errors.As(err, &ended):
		return "", &Failure{Output: said.String(), Err: fault.Newf(fault.Transient, opDeliver, "the command ended with %s", ended.ProcessState).
			WithHint("What it printed is in the log of the worker that ran it.")}
	}
	return "", &Failure{Output: said.String(), Err: fault.New(fault.Transient, "run "+h.Command[0], withoutPath(err))}
}

// killGroup kills a process that leads a group of its own, and the group.
func killGroup(pid int) error {
	if pid <= 1 {
		return fmt.Errorf("no process %d", pid)
	}
	err := syscall.Kill(-pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

func withoutPath(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func passed(names []string) (env []string) {
	for _, name := range names {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// event is what variables tells of an event's body.
type event struct {
	Group     string `json:"group"`
	Workspace string `json:"workspace"`
	Region    string `json:"region"`
	Epoch     int64  `json:"epoch"`
	Message   string `json:"message"`
	Timestamp string `json:"timestamp"`
	Operation struct {
		ID    string `json:"id"`
		Kind  string `json:"kind"`
		State string `json:"state"`
		From  string `json:"from"`
		To    string `json:"to"`
	} `json:"operation"`
	Endpoint struct {
		Hosts []struct {
			Host string `json:"host"`
			Port int    `json:"port"`
		} `json:"hosts"`
	} `json:"endpoint"`
}

// variables are the event's fields for a shell: each is there, and empty where the event has none.
func variables(m Message) []string {
	var e event
	_ = json.Unmarshal(m.Body, &e) // what is no event has no fields
	host, port := "", ""
	if len(e.Endpoint.Hosts) > 0 {
		host, port = e.Endpoint.Hosts[0].Host, strconv.Itoa(e.Endpoint.Hosts[0].Port)
	}
	epoch := ""
	if e.Epoch > 0 {
		epoch = strconv.FormatInt(e.Epoch, 10)
	}
	var env []string
	for _, v := range [][2]string{
		{"ID", m.ID}, {"TYPE", m.Type}, {"GROUP", e.Group}, {"WORKSPACE", e.Workspace}, {"REGION", e.Region}, {"EPOCH", epoch},
		{"MESSAGE", e.Message}, {"TIMESTAMP", e.Timestamp}, {"HOST", host}, {"PORT", port},
		{"OPERATION", e.Operation.ID}, {"OPERATION_KIND", e.Operation.Kind}, {"OPERATION_STATE", e.Operation.State},
		{"OPERATION_FROM", e.Operation.From}, {"OPERATION_TO", e.Operation.To},
	} {
		env = append(env, "SMARTDR_EVENT_"+v[0]+"="+v[1])
	}
	return env
}

// tail keeps the last bytes that are written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - maxAnswer; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.b) }
