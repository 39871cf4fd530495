package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"

	"github.com/smartdr/smartdr/internal/devenv"
)

// What the demo prints about the failover that it does.
var (
	rpoLine = regexp.MustCompile(`RPO measured +([0-9.]+) s`)
	rtoLine = regexp.MustCompile(`RTO measured +([0-9.]+) s`)
)

// measureFailover lets the demo lose a region: the whole product, workflows and all, with a small database under load.
func (r *run) measureFailover(ctx context.Context) error {
	path, err := devenv.Tool("smartdr-dev")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, "demo")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it has a region to clean up
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("smartdr-dev demo: %w: %s", err, out[max(0, len(out)-2000):])
	}
	rpo, rto, err := readDemo(string(out))
	if err != nil {
		return err
	}
	r.rec.add("failover of the demo: lost commits' age (RPO)", "s", rpo)
	r.rec.add("failover of the demo: until the first query (RTO)", "s", rto)
	return nil
}

// readDemo finds the demo's measurements, in seconds.
func readDemo(out string) (rpo, rto float64, err error) {
	p, t := rpoLine.FindStringSubmatch(out), rtoLine.FindStringSubmatch(out)
	if p == nil || t == nil {
		return 0, 0, fmt.Errorf("the demo printed no RPO and RTO")
	}
	if rpo, err = strconv.ParseFloat(p[1], 64); err != nil {
		return 0, 0, err
	}
	rto, err = strconv.ParseFloat(t[1], 64)
	return rpo, rto, err
}
