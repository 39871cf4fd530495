package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
)

// end leaves no process behind, whatever happened, and no folder unless somebody may want to look at it.
func (d *demo) end(err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if d.env != nil {
		err = errors.Join(err, d.env.Stop(ctx))
	}
	for _, l := range d.loads {
		l.Stop()
	}
	for _, l := range d.home.clients {
		l.Stop()
	}
	if left := leftovers(ctx, d.dir); len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("processes are left behind:\n  %s", strings.Join(left, "\n  ")))
	}
	if err != nil || d.flags.keep {
		fmt.Printf("\nData and logs are in %s\n", d.dir)
		return err
	}
	return os.RemoveAll(d.dir)
}

// leftovers are the processes that are left in a folder once those that were killed had a moment to be gone.
func leftovers(ctx context.Context, dir string) (left []string) {
	for range 20 {
		if left = devenv.Leftovers(dir); len(left) == 0 || !pause(ctx, 100*time.Millisecond) {
			break
		}
	}
	return left
}
