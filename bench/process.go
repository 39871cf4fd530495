package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/smartdr/smartdr/internal/topology"
)

// cost is what a piece of work took.
type cost struct {
	Seconds float64 // wall time
	CPU     float64 // seconds of the measured process
	Server  float64 // CPU seconds of PostgreSQL meanwhile
	Storage float64 // CPU seconds of the buckets' servers meanwhile
	Load    float64 // CPU seconds of this process meanwhile: the load, and looking on
	Others  float64 // CPU seconds of everything else on the machine, the kernel's own work for it too
}

// child is a piece of work in a process of its own.
type child struct {
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	meter *meter
	last  line
	read  chan error // one value, when the child's output has ended
}

// start starts a piece. heard gets what it says of its progress; it may be nil.
func (b *bench) start(ctx context.Context, name string, in any, heard func(topology.WALProgress)) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{name: name, cmd: exec.CommandContext(ctx, self, "child", name), read: make(chan error, 1)}
	c.cmd.Stderr = os.Stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.meter = b.place.meter()
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { c.read <- c.listen(out, heard) }()
	return c, c.order(b.profileFile(name), in)
}

func (c *child) order(profile string, in any) error {
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return json.NewEncoder(c.stdin).Encode(order{Profile: profile, Input: raw})
}

func (b *bench) profileFile(name string) string {
	if b.profile == "" {
		return ""
	}
	return filepath.Join(b.profile, fmt.Sprintf("%s-%s.pprof", time.Now().Format("150405.000"), name))
}

func (c *child) listen(out io.Reader, heard func(topology.WALProgress)) error {
	in := bufio.NewScanner(out)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		var l line
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			return fmt.Errorf("%s said %q: %w", c.name, in.Text(), err)
		}
		if l.Progress == nil {
			c.last = l
		} else if heard != nil {
			heard(*l.Progress)
		}
	}
	return in.Err()
}

// stop asks the child to finish, and waits.
func (c *child) stop(out any) (cost, error) {
	return c.wait(out, c.stdin.Close())
}

// wait returns the child's result in out, and what it cost.
func (c *child) wait(out any, earlier error) (cost, error) {
	err := errors.Join(earlier, <-c.read, c.cmd.Wait())
	if err == nil && c.last.Error != "" {
		err = errors.New(c.last.Error)
	}
	if err != nil {
		return cost{}, fmt.Errorf("%s: %w", c.name, err)
	}
	k := c.meter.stop(cpuOf(c.cmd.ProcessState))
	k.Seconds = c.last.Seconds
	return k, json.Unmarshal(c.last.Result, out)
}

// call does a piece from beginning to end.
func (b *bench) call(ctx context.Context, name string, in, out any) (cost, error) {
	c, err := b.start(ctx, name, in, nil)
	if err != nil {
		return cost{}, err
	}
	return c.wait(out, nil)
}

// command runs another program, as a reference.
func (b *bench) command(ctx context.Context, env []string, name string, args ...string) (cost, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	m := b.place.meter()
	if out, err := cmd.CombinedOutput(); err != nil {
		return cost{}, fmt.Errorf("%s: %w: %s", filepath.Base(name), err, out)
	}
	return m.stop(cpuOf(cmd.ProcessState)), nil
}

func cpuOf(s *os.ProcessState) float64 { return (s.UserTime() + s.SystemTime()).Seconds() }
