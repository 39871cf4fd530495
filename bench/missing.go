package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/wal"
)

// measureMissing finds the few rows of a large table that a server changed after it was left, and beside that compares the table as a whole with
// the one that serves. Copies of servers lie on the local disk; WAL is read from files.
func (r *run) measureMissing(ctx context.Context) (err error) {
	note("filling a table of %s rows, and copying it", millions(r.rows))
	o, err := r.startOldLine(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	for _, changes := range []int{10, 10_000} {
		if err := r.missingRows(ctx, o, changes); err != nil {
			return fmt.Errorf("%d changes: %w", changes, err)
		}
	}
	return nil
}

// interval is what was written between a fork and a tip, and the servers that it is compared with.
type interval struct {
	*oldLine
	fork, tip       wal.LSN
	reading, active *postgres.Server
}

func (r *run) missingRows(ctx context.Context, o *oldLine, changes int) (err error) {
	i := interval{oldLine: o}
	if err = o.old.Exec(ctx, "bench", "checkpoint"); err != nil {
		return err
	}
	if i.fork, err = o.end(ctx, "select"); err != nil {
		return err
	}
	if err = o.change(ctx, r.rows, changes); err != nil {
		return err
	}
	if i.tip, err = o.end(ctx, "select pg_switch_wal()"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.drop(context.WithoutCancel(ctx))) }()
	if i.active, err = o.serveFrom(ctx, "active", i.fork); err != nil {
		return err
	}
	if i.reading, err = o.copyAt(ctx, "reading", i.fork, "pause"); err != nil {
		return err
	}
	name := fmt.Sprintf("missing rows, %d of %s changed", changes, millions(r.rows))
	found, err := r.find(ctx, i, name, changes)
	if err != nil {
		return err
	}
	whole, err := seconds(func() error { return i.compareWhole(ctx, changes) })
	if err == nil {
		r.rec.addBeside(name+": all but the copy's start and replay", "s", found, "both tables read in order of their keys and compared", whole)
	}
	return err
}

// find measures each step, and returns how many seconds it took to find the rows once the copy is where it has to be.
func (r *run) find(ctx context.Context, i interval, name string, changes int) (all float64, err error) {
	var found *missing.Changes
	var set bytes.Buffer
	in := missing.ReadInput{Connect: i.reading.Open, Databases: []string{"bench"}, Dir: filepath.Join(i.dir, fmt.Sprint("kept", changes)), Workspace: workspace, Lineage: "0001-00000001"}
	if err := os.MkdirAll(in.Dir, 0o700); err != nil {
		return 0, err
	}
	r.rec.add(name+": WAL between fork and tip", "MB", float64(i.tip-i.fork)/mega)
	for _, step := range []struct {
		name   string
		counts bool // it is not what any comparison with a copy of the server takes: to open the copy, and to bring it to the tip
		do     func() error
	}{
		{"scan of WAL", true, func() error {
			oldest := i.size.Start(i.fork) - wal.LSN(i.size)
			found, err = missing.Scan(ctx, missing.ScanInput{Walk: i.walk, Fork: i.fork, Tip: i.tip, Oldest: oldest, Segment: i.size})
			return err
		}},
		{"copy, opened at the fork", false, func() error { return i.standAt(ctx, i.reading, i.fork) }},
		{"copy, read at the fork", true, func() error { in.Changes = found; return missing.ReadFork(ctx, in) }},
		{"copy, replayed to the tip", false, func() error { return i.moveTo(ctx, i.reading, i.tip) }},
		{"copy, read at the tip", true, func() error {
			_, err := missing.ReadTip(ctx, in, func(string) (io.WriteCloser, error) { return open{&set}, nil })
			return err
		}},
		{"comparison with what serves", true, func() error { return i.preview(ctx, set.Bytes(), changes) }},
	} {
		took, err := seconds(step.do)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", step.name, err)
		}
		r.rec.add(name+": "+step.name, "ms", 1000*took)
		if step.counts {
			all += took
		}
	}
	return all, nil
}

// open is a writer that needs no closing.
type open struct{ io.Writer }

func (open) Close() error { return nil }

// preview compares a set with the server that serves, and sees that every change was found.
func (i interval) preview(ctx context.Context, set []byte, changes int) error {
	conn, err := i.active.Open(ctx, "bench")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing was changed
	sum, err := missing.Merge(ctx, missing.MergeInput{Conn: conn, Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(set)), nil }})
	if err == nil && (sum.Applied != int64(changes) || sum.Conflicts != 0) {
		err = fmt.Errorf("%d of %d changes would be merged, and %d conflict", sum.Applied, changes, sum.Conflicts)
	}
	return err
}

// digests is every row of the table, in order of its key.
const digests = `copy (select id, hash_record_extended(a, 0) from accounts a order by id) to stdout`

// compareWhole reads both tables side by side, and sees that as many rows differ as were changed.
func (i interval) compareWhole(ctx context.Context, changes int) error {
	g, ctx := errgroup.WithContext(ctx)
	stream := func(s *postgres.Server) *rows {
		read, write := io.Pipe()
		g.Go(func() error {
			conn, err := s.Open(ctx, "bench")
			if err == nil {
				err = copyOut(ctx, conn, write)
			}
			return errors.Join(err, write.CloseWithError(err))
		})
		return &rows{Scanner: bufio.NewScanner(read)}
	}
	tip, active := stream(i.reading), stream(i.active)
	differ := difference(tip, active)
	if err := errors.Join(g.Wait(), tip.err, active.err); err != nil {
		return err
	}
	if differ != changes {
		return fmt.Errorf("%d rows differ, and %d were changed", differ, changes)
	}
	return nil
}

func copyOut(ctx context.Context, conn *pgx.Conn, to io.Writer) error {
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it was only read from
	_, err := conn.PgConn().CopyTo(ctx, to, digests)
	return err
}

// rows are read one by one.
type rows struct {
	*bufio.Scanner
	id, digest int64
	over       bool
	err        error
}

func (r *rows) next() {
	if r.over = !r.Scan(); r.over {
		r.err = r.Err()
		return
	}
	id, digest, _ := bytes.Cut(r.Bytes(), []byte("\t"))
	r.id, r.digest = number64(id), number64(digest)
}

// number64 reads a number that PostgreSQL wrote.
func number64(b []byte) (n int64) {
	negative := len(b) > 0 && b[0] == '-'
	for _, c := range bytes.TrimPrefix(b, []byte("-")) {
		n = 10*n + int64(c-'0')
	}
	if negative {
		return -n
	}
	return n
}

// difference counts the keys whose rows are not the same on both sides.
func difference(a, b *rows) (n int) {
	a.next()
	b.next()
	for !a.over || !b.over {
		switch {
		case b.over || !a.over && a.id < b.id:
			n++
			a.next()
		case a.over || b.id < a.id:
			n++
			b.next()
		default:
			if a.digest != b.digest {
				n++
			}
			a.next()
			b.next()
		}
	}
	return n
}
