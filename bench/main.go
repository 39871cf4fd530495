// Command bench measures SmartDR's rooms on real servers of this machine: PostgreSQL, and two versitygw as buckets. Each
// measured piece of work runs in a process of its own (this program, started again as "bench child <piece>"), so that its
// CPU seconds are its own and neither the servers nor the load count. References run in turn with what they stand beside;
// ratios are taken within a run. Units: MB and GB are decimal.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
)

const mega = 1e6

type options struct {
	sizeMB   int64
	runs     int
	load     time.Duration
	replayMB int64
	rows     int64
	major    int
	only     string
	short    bool
	dir      string
	out      string
	profile  string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) > 2 && os.Args[1] == "child" {
		err = childMain(ctx, os.Args[2])
	} else {
		err = benchMain(ctx, readOptions())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func readOptions() options {
	var o options
	flag.Int64Var(&o.sizeMB, "size", 1000, "size of the database in MB")
	flag.IntVar(&o.runs, "n", 3, "runs; the result is their median")
	flag.DurationVar(&o.load, "load", 30*time.Second, "how long each load lasts")
	flag.Int64Var(&o.replayMB, "replay", 1500, "MB of WAL to fetch and to replay at most")
	flag.Int64Var(&o.rows, "rows", 5_000_000, "rows of the table of which some are missing")
	flag.IntVar(&o.major, "pg", 0, "PostgreSQL major (default: the newest one that has pg_basebackup, else the newest)")
	flag.StringVar(&o.only, "only", "snapshot,incremental,wal,restore,failover,moves,missing", "what to measure; restore needs snapshot and wal")
	flag.BoolVar(&o.short, "short", false, "a quick check of about a minute: 100 MB, one run, loads of 5 s, nothing kept")
	flag.StringVar(&o.dir, "dir", os.TempDir(), "where the servers' data goes, in a folder that is removed at the end")
	flag.StringVar(&o.out, "out", "bench/results", "folder for the results; empty writes none")
	flag.StringVar(&o.profile, "profile", "", "folder for a CPU profile of each measured process")
	flag.Parse()
	if o.short {
		o.sizeMB, o.runs, o.load, o.replayMB, o.rows, o.out = 100, 1, 5*time.Second, 200, 200_000, ""
		o.only = strings.NewReplacer(",failover", "", ",moves", "").Replace(o.only)
	}
	return o
}

// bench is one call of the program.
type bench struct {
	options
	place *place
	rec   *record
}

func benchMain(ctx context.Context, o options) error {
	if root, err := devenv.Root(); err == nil && !filepath.IsAbs(o.out) && o.out != "" {
		o.out = filepath.Join(root, o.out)
	}
	if o.profile != "" {
		if err := os.MkdirAll(o.profile, 0o755); err != nil {
			return err
		}
	}
	b := &bench{options: o, rec: newRecord(o)}
	if err := b.measure(ctx); err != nil {
		return err
	}
	b.rec.finish()
	fmt.Print(b.rec.table())
	if o.out == "" {
		return nil
	}
	return b.rec.write(o.out)
}

func (b *bench) measure(ctx context.Context) (err error) {
	if b.place, err = newPlace(ctx, b.options); err != nil {
		return err
	}
	defer func() { b.place.close() }()
	b.rec.Machine.Postgres = b.place.version
	if b.only != "missing" { // which has a server of its own
		note("filling a database of %d MB", b.sizeMB)
		if err := b.place.fill(ctx, b.sizeMB); err != nil {
			return fmt.Errorf("fill the database: %w", err)
		}
	}
	for n := 1; n <= b.runs; n++ {
		err := b.oneRun(ctx, n)
		if ctx.Err() != nil && n > 1 {
			b.rec.Runs = n - 1
			note("interrupted in run %d: what was measured until now counts", n)
			return nil
		}
		if err != nil {
			return fmt.Errorf("run %d: %w", n, err)
		}
	}
	return nil
}

func (o options) wants(what string) bool { return slices.Contains(strings.Split(o.only, ","), what) }

func note(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  "+format+"\n", append([]any{time.Now().Format("15:04:05")}, args...)...)
}
