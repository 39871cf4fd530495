package activities

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/snapshot"
)

// searchTimeout is how long the query may take at one point, in milliseconds.
const searchTimeout = "60000"

// look brings up a snapshot, replays to each of the points and runs the query there. It returns the last point at which there were rows,
// and -1 when there were none at any.
func (s *searching) look(ctx context.Context, start WorkspacePlan, points []restore.Committed) (int, error) {
	if err := s.t.removeSearch(ctx, s.in.ID); err != nil {
		return -1, err
	}
	follow, err := s.bringFiles(ctx, start)
	if err != nil {
		return -1, err
	}
	last := -1
	for i, p := range points {
		follow.Target = &p.At
		followed, err := restore.Follow(ctx, follow)
		if err == nil && !followed.Reached {
			err = fault.Newf(fault.Transient, opSearch, "the server stands at %s and not at %s", followed.Replayed, p.At)
		}
		if err != nil {
			return -1, err
		}
		rows, err := s.ask(ctx, follow.Server)
		if err != nil {
			return -1, err
		}
		if s.looked++; rows {
			last = i
		}
		s.pulse.say(amount{int64(i + 1), int64(len(points)), s.in.Workspace})
	}
	return last, nil
}

// bringFiles restores the snapshot that a plan begins with, and says how to go on from it.
func (s *searching) bringFiles(ctx context.Context, start WorkspacePlan) (f restore.FollowInput, err error) {
	legs, err := s.legs(start)
	if err != nil {
		return f, err
	}
	in := RestoreInput{Group: s.in.Group, To: s.in.Region, Plan: start, Branch: s.in.ID, Attachment: s.in.ID, ReadOnly: true}
	in.Place.Instance = s.t.searchDir(s.in.ID)
	if in.Place.Port, err = anyPort(); err != nil {
		return f, err
	}
	if err := os.MkdirAll(in.Place.Instance, 0o755); err != nil {
		return f, fault.New(diskKind(err), "make folder", err)
	}
	place, err := s.t.place(in.Place.Instance, in.Place.Port, start)
	if err != nil {
		return f, err
	}
	in.Place = place
	say := func(done, total int64) { s.pulse.say(amount{done, total, start.Workspace}) }
	if err := s.t.copyFiles(ctx, in, say); err != nil {
		return f, err
	}
	m, err := s.t.metadataOrNone(ctx, in)
	if err != nil {
		return f, err
	}
	attach, _, err := s.t.attachInput(ctx, in, restore.FetchedWAL{}, m)
	return restore.FollowInput{
		ID: s.in.ID, Server: attach.Server, Superuser: attach.Superuser, SegmentSize: start.SegmentSize, Legs: legs, AtLeast: true,
		ReplayFrom: start.SnapshotStart.LSN, OmittedDatabases: attach.OmittedDatabases, Overrides: attach.Overrides, Log: s.t.Log,
	}, err
}

// copyFiles brings a snapshot's files for a server that nobody shall ever reach.
func (t *Target) copyFiles(ctx context.Context, in RestoreInput, say func(done, total int64)) error {
	store, err := t.store(in.To)
	if err != nil {
		return err
	}
	m, err := snapshot.Load(ctx, store, in.Group, in.Plan.Workspace, in.Plan.Snapshot)
	if err != nil {
		return err
	}
	account, err := postgres.DefaultAccount()
	if err != nil {
		return err
	}
	files := restore.FilesInput{Store: store, Manifest: m, DataDir: in.Place.DataDir, Reuse: t.reuse(ctx, in), Log: t.Log, Progress: say}
	if account != nil {
		files.UID, files.GID = int(account.UID), int(account.GID)
	}
	_, err = restore.Files(ctx, files)
	return err
}

// anyPort returns one that is free, outside of those that servers of this host are given.
func anyPort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fault.New(fault.Transient, "choose port", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// absent are the SQLSTATEs of what is not there at a point: it has no rows.
var absent = []string{"3D000", "3F000", "42P01", "42703", "42883"} // database, schema, table, column, function

// ask runs the query, which can be nothing but one that reads: it is a cursor's, in a transaction that may not write, as a role that
// may read everything, on a server that is in recovery.
func (s *searching) ask(ctx context.Context, server *postgres.Server) (rows bool, err error) {
	conn, err := server.Open(ctx, s.in.Database)
	if isAbsent(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only read from
	rows, err = fetchOne(ctx, conn, s.in.Query)
	var said *pgconn.PgError
	switch {
	case isAbsent(err):
		return false, nil
	case errors.As(err, &said) && said.Code == pgQueryCanceled:
		return false, fault.Newf(fault.Invalid, opSearch, "the query took longer than a minute").WithHint("Ask for less: a row by its key, with a LIMIT.")
	case errors.As(err, &said):
		return false, fault.Newf(fault.Invalid, opSearch, "the query fails: %s", said.Message).WithHint("Give one SELECT that this database can run.")
	case err != nil:
		return false, fault.New(fault.Transient, opSearch, err)
	}
	return rows, nil
}

const pgQueryCanceled = "57014"

func isAbsent(err error) bool {
	var said *pgconn.PgError
	return errors.As(err, &said) && slices.Contains(absent, said.Code)
}

func fetchOne(ctx context.Context, conn *pgx.Conn, query string) (bool, error) {
	for _, sql := range []string{
		"BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY", "SET LOCAL statement_timeout = " + searchTimeout, "SET LOCAL ROLE pg_read_all_data",
		"DECLARE smartdr_search NO SCROLL CURSOR FOR " + query,
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return false, err
		}
	}
	tag, err := conn.Exec(ctx, "MOVE 1 FROM smartdr_search")
	return tag.RowsAffected() > 0, err
}
