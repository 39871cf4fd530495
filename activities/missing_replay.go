package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/wal"
)

// readableWithin is how long a standby that has replayed all may take to let somebody in.
const readableWithin = 15 * time.Second

// errUnreadable: a standby has replayed all, and lets nobody in.
var errUnreadable = errors.New("the copy lets nobody in")

// readAt brings the copy to a point and reads it there. Where a standby can't be read, since it lets nobody in or a transaction that was open there
// has locked a table, the copy is promoted: that ends what was open.
func (r *reading) readAt(ctx context.Context, at wal.Position, read func() error) error {
	for {
		err := r.replayTo(ctx, at)
		if err == nil {
			err = read()
		}
		if r.copy.Promoted || !errors.Is(err, errUnreadable) && !missing.Locked(err) {
			return err
		}
		if err := r.promote(ctx, err); err != nil {
			return err
		}
	}
}

// replayTo brings the copy to a point, and to nothing behind it.
func (r *reading) replayTo(ctx context.Context, to wal.Position) error {
	if err := r.files(ctx); err != nil {
		return err
	}
	in, err := r.following(ctx)
	if err != nil {
		return err
	}
	in.Target = &to
	r.pulse.say(MissingProgress{Phase: "replay to " + to.LSN.String()})
	followed, err := restore.Follow(ctx, in)
	switch {
	case err != nil:
		return err
	case !followed.Reached:
		return fault.Newf(fault.Transient, opMissing, "the copy stands at %s and not at %s", followed.Replayed, to)
	case r.copy.Promoted:
		return r.promoted(ctx, followed)
	}
	return r.letsIn(ctx, to.LSN)
}

func (r *reading) following(ctx context.Context) (f restore.FollowInput, err error) {
	legs, err := r.t.missingWay(r.group, r.in, &r.copy.Plan.Legs[0])
	if err != nil {
		return f, err
	}
	attach, err := r.attach(ctx, restore.FetchedWAL{})
	return restore.FollowInput{
		ID: r.in.Lineage, Server: attach.Server, Superuser: attach.Superuser, SegmentSize: r.copy.Plan.SegmentSize, Legs: legs,
		ReplayFrom: r.copy.Plan.SnapshotStart.LSN, OmittedDatabases: attach.OmittedDatabases, Overrides: attach.Overrides, Log: r.t.Log,
	}, err
}

// letsIn makes sure that the standby can be read. It can't where a transaction with more than 64 subtransactions was open from the snapshot on.
func (r *reading) letsIn(ctx context.Context, at wal.LSN) error {
	within, cancel := context.WithTimeout(ctx, readableWithin)
	defer cancel()
	for {
		conn, err := r.connect(within, "postgres")
		if err == nil {
			return conn.Close(ctx)
		}
		if !fault.Is(err, fault.Transient) || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-within.Done():
			return fmt.Errorf("%w at %s: %w", errUnreadable, at, err)
		}
	}
}

// promoted promotes the copy where it stands, and rolls back there what was prepared, which would hold its locks for ever. Nobody but this comparison
// ever gets in, and nothing of it is archived.
func (r *reading) promoted(ctx context.Context, followed restore.Followed) error {
	in, err := r.attach(ctx, followed.FetchedWAL)
	if err != nil {
		return err
	}
	if _, err := restore.Attach(ctx, in); err != nil {
		return err
	}
	conn, err := r.connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // only read from
	type prepared struct{ GID, Database string }
	rows, err := conn.Query(ctx, "select gid, database from pg_prepared_xacts")
	if err != nil {
		return sqlError(opMissing, err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[prepared])
	if err != nil {
		return sqlError(opMissing, err)
	}
	for _, p := range all {
		if err := r.rollBack(ctx, p.Database, p.GID); err != nil {
			return err
		}
	}
	return nil
}

func (r *reading) rollBack(ctx context.Context, database, gid string) error {
	conn, err := r.connect(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // all was said
	_, err = conn.Exec(ctx, "rollback prepared "+quoteText(gid))
	return sqlError(opMissing, err)
}
