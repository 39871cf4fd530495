package devtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"

	"github.com/smartdr/smartdr/internal/devenv"
)

// SmartDR runs the CLI as a script would, with e's configuration. An error holds everything that the command printed.
func SmartDR(ctx context.Context, e *devenv.Env, args ...string) (stdout string, err error) {
	path, err := devenv.Tool("smartdr")
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

// EachActivity calls strike once for each activity type of a workflow, when the activity has just been scheduled. It follows
// the workflow's history, so that no step is too short to be seen, also over Temporal's restarts, and ends with ctx.
func EachActivity(ctx context.Context, t *devenv.Temporal, workflowID string, strike func(activity string)) {
	seen := map[string]bool{}
	for ctx.Err() == nil {
		scheduled(ctx, t, workflowID, func(activity string) {
			if !seen[activity] {
				seen[activity] = true
				strike(activity)
			}
		})
		select { // Temporal was away, or the workflow is not there yet
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// scheduled reads the history until it ends or Temporal does.
func scheduled(ctx context.Context, t *devenv.Temporal, workflowID string, tell func(activity string)) {
	c, err := t.Dial(ctx)
	if err != nil {
		return // tried again
	}
	defer c.Close()
	events := c.GetWorkflowHistory(ctx, workflowID, "", true, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			return // tried again
		}
		if a := e.GetActivityTaskScheduledEventAttributes(); a != nil {
			tell(a.GetActivityType().GetName())
		}
	}
}
