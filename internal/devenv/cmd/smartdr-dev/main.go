// Command smartdr-dev starts two regions on this machine, to look at or to lose: `make dev`, `make dev-down`, `make demo`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/smartdr/smartdr/internal/fault"
)

const usage = `usage: smartdr-dev up | down | demo

  up     start two regions, Temporal and a primary PostgreSQL, and leave them running
  down   end what "up" started, and remove its data
  demo   lose a region, fail over, merge the rows that were left behind, and come home, checked by a ledger of every commit

  demo takes: -load 8s   how long the workload runs after replication is in sync
              -size 150  MB of data in the databases
              -keep      keep the folder with all data and logs
              -pg 18     PostgreSQL's major version; default: the newest that is installed
`

var errUsage = errors.New("no such command")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second ^C ends at once
	err := run(ctx, os.Args[1:])
	if errors.Is(err, errUsage) {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "\nsmartdr-dev: %v\n", err)
	if hint := fault.HintOf(err); hint != "" {
		fmt.Fprintln(os.Stderr, "hint:", hint)
	}
	os.Exit(1)
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	switch args[0] {
	case "up":
		return up(ctx)
	case "down":
		return down(ctx)
	case "demo":
		return runDemo(ctx, args[1:])
	}
	return errUsage
}
