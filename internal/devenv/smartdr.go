package devenv

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// SmartDR runs the CLI as a script would, with the environment's configuration. An error holds everything that the command printed.
func (e *Env) SmartDR(ctx context.Context, args ...string) (stdout string, err error) {
	path, err := Tool("smartdr")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "SMARTDR_CONFIG="+e.ConfigPath())
	var o, out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &out
	if err := cmd.Run(); err != nil {
		return o.String(), fmt.Errorf("smartdr %s: %w\n%s%s", strings.Join(args, " "), err, o.String(), out.String())
	}
	return o.String(), nil
}

// SmartDRJSON runs the CLI and decodes what it prints.
func (e *Env) SmartDRJSON(ctx context.Context, into any, args ...string) error {
	out, err := e.SmartDR(ctx, append(args, "-o", "json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		return fmt.Errorf("smartdr %s: its JSON: %w", strings.Join(args, " "), err)
	}
	return nil
}
