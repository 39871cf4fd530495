package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
)

// cli runs `smartdr` as a user would, on this terminal.
func (d *demo) cli(ctx context.Context, args ...string) error {
	cmd, err := d.command(ctx, args)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("smartdr %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// cliJSON runs `smartdr` as a script would, and decodes what it prints.
func (d *demo) cliJSON(ctx context.Context, into any, args ...string) error {
	cmd, err := d.command(ctx, append(args, "-o", "json"))
	if err != nil {
		return err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("smartdr %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("smartdr %s: its JSON: %w", strings.Join(args, " "), err)
	}
	return nil
}

func (d *demo) command(ctx context.Context, args []string) (*exec.Cmd, error) {
	path, err := devenv.Tool("smartdr")
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = d.dir
	cmd.Env = append(os.Environ(), "SMARTDR_CONFIG="+d.env.ConfigPath())
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd, nil
}
