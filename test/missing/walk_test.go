package missing_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// errEnough ends a walk early.
var errEnough = errors.New("seen enough")

// walk is a missing.Walk over the files of the old server's pg_wal.
func (l *line) walk(ctx context.Context, from, to wal.LSN, visit func(wal.Record) error) error {
	at := l.before(from)
	scanner := wal.NewScanner(segmentSize)
	var stop error
	for ; at < to && stop == nil; at = segmentSize.Next(at) {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(l.old.DataDir, "pg_wal", segmentSize.FileName(1, at)))
		if errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Missing, "walk", err)
		}
		if err != nil {
			return err
		}
		if rest := to - at; rest < wal.LSN(len(b)) {
			b = b[:rest]
		}
		err = scanner.Feed(at, b, func(r wal.Record) {
			if stop == nil && r.End > from && r.End <= to {
				stop = visit(r)
			}
		})
		if err != nil && stop == nil {
			return fault.New(fault.Corrupt, "walk", err)
		}
	}
	return stop
}

// before is where reading begins for records that end behind from: a file earlier, where there is one.
func (l *line) before(from wal.LSN) wal.LSN {
	start := segmentSize.Start(from)
	if start == 0 {
		return start
	}
	earlier := segmentSize.Start(start - 1)
	if _, err := os.Stat(filepath.Join(l.old.DataDir, "pg_wal", segmentSize.FileName(1, earlier))); err != nil {
		return start
	}
	return earlier
}

// oldest is where the old server began to write.
func (l *line) oldest() wal.LSN {
	control, err := l.base.ControlData(l.t.Context())
	check(l.t, err)
	return segmentSize.Start(control.Checkpoint.LSN)
}
