package activities

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	// missingFolder holds the copies of servers that are compared on a host. It is no group's: nothing that looks after servers finds it.
	missingFolder = ".missing"
	// missingFile, in a copy's folder, says how far it is.
	missingFile = "missing.json"
	// readableWithin is how long a standby that has replayed all may take to let somebody in.
	readableWithin = 15 * time.Second
)

// missingCopy is what is known of a copy.
type missingCopy struct {
	Job    MissingJob    `json:"job"`
	Plan   WorkspacePlan `json:"plan"`
	Port   int           `json:"port"`
	Files  bool          `json:"files"`  // all are there
	Forked bool          `json:"forked"` // what is needed of the fork was read
	// Without are snapshots from which nobody is let in at the fork.
	Without []string `json:"without,omitempty"`
}

// missingDir is the folder of a copy: one for each server that was left, so that whoever comes after one that was killed finds it.
func (t *Target) missingDir(in MissingJob) string {
	return filepath.Join(t.DataDir, missingFolder, in.Group, in.Workspace+"-"+in.Lineage)
}

func (t *Target) removeMissing(ctx context.Context, in MissingJob) error {
	dir := t.missingDir(in)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := stopBranch(ctx, dir); err != nil {
		return err
	}
	return removeWithSocket(ctx, dir)
}

// begin takes up the copy that another attempt has left, or makes a new one.
func (r *reading) begin(ctx context.Context) error {
	dir := r.t.missingDir(r.in)
	if err := stopBranch(ctx, dir); err != nil { // it goes on with the settings that it needs now
		return err
	}
	var was missingCopy
	found, err := readState(dir, missingFile, &was)
	if err != nil && !fault.Is(err, fault.Corrupt) {
		return err
	}
	if found && err == nil && r.same(was) {
		r.copy = was
		if r.copy.Port, err = anyPort(); err != nil { // another one may have it by now
			return err
		}
		return r.files(ctx)
	}
	return r.anew(ctx, nil)
}

// same reports whether a copy is of what is asked for.
func (r *reading) same(was missingCopy) bool {
	a, b := was.Job, r.in
	return a.Lineage == b.Lineage && a.Fork == b.Fork && a.Tip == b.Tip && a.Full == b.Full && slices.Equal(a.Databases, b.Databases)
}

// anew makes the copy from the newest snapshot that leads to the fork and is not one of some.
func (r *reading) anew(ctx context.Context, without []string) (err error) {
	if err := r.t.removeMissing(ctx, r.in); err != nil {
		return err
	}
	c := missingCopy{Job: r.in, Without: without}
	if c.Plan, err = r.t.planFork(ctx, r.group, r.in, without); err != nil {
		return err
	}
	if c.Port, err = anyPort(); err != nil {
		return err
	}
	if err := os.MkdirAll(r.t.missingDir(r.in), 0o755); err != nil {
		return fault.New(diskKind(err), "make folder", err)
	}
	r.copy = c
	if err := r.save(); err != nil {
		return err
	}
	return r.files(ctx)
}

func (r *reading) save() error { return writeState(r.t.missingDir(r.in), missingFile, r.copy) }

// restored is how the copy is described to what restores.
func (r *reading) restored() (in RestoreInput, err error) {
	in = RestoreInput{Group: r.in.Group, To: r.in.Bucket, Plan: r.copy.Plan, Branch: missingFolder, Attachment: r.in.Lineage, ReadOnly: true}
	in.Place, err = r.t.place(r.t.missingDir(r.in), r.copy.Port, r.copy.Plan)
	return in, err
}

// files brings those of the snapshot, once: replay changes them.
func (r *reading) files(ctx context.Context) error {
	if r.copy.Files {
		return nil
	}
	in, err := r.restored()
	if err != nil {
		return err
	}
	say := func(done, total int64) {
		r.pulse.say(MissingProgress{Phase: "restore a copy", Done: done, Total: total})
	}
	if err := r.t.copyFiles(ctx, in, say); err != nil {
		return err
	}
	r.copy.Files = true
	return r.save()
}

// follow replays up to a point, and to nothing behind it.
func (r *reading) follow(ctx context.Context, to wal.Position) error {
	in, err := r.following(ctx)
	if err != nil {
		return err
	}
	in.Target = &to
	r.pulse.say(MissingProgress{Phase: "replay to " + to.LSN.String()})
	followed, err := restore.Follow(ctx, in)
	if err == nil && !followed.Reached {
		err = fault.Newf(fault.Transient, opMissing, "the copy stands at %s and not at %s", followed.Replayed, to)
	}
	return err
}

func (r *reading) following(ctx context.Context) (f restore.FollowInput, err error) {
	in, err := r.restored()
	if err != nil {
		return f, err
	}
	legs, err := r.t.missingWay(r.group, r.in, &r.copy.Plan.Legs[0])
	if err != nil {
		return f, err
	}
	m, err := r.t.metadataOrNone(ctx, in)
	if err != nil {
		return f, err
	}
	attach, _, err := r.t.attachInput(ctx, in, restore.FetchedWAL{}, m)
	return restore.FollowInput{
		ID: r.in.Lineage, Server: attach.Server, Superuser: attach.Superuser, SegmentSize: r.copy.Plan.SegmentSize, Legs: legs,
		ReplayFrom: r.copy.Plan.SnapshotStart.LSN, OmittedDatabases: attach.OmittedDatabases, Overrides: attach.Overrides, Log: r.t.Log,
	}, err
}

// readable brings the copy to the fork from a snapshot from which it lets somebody in there. It does not where a transaction with more than 64
// subtransactions was open from the snapshot on (postgres-edge-cases 2.8); one that is older may have begun before that.
func (r *reading) readable(ctx context.Context) error {
	for {
		err := r.follow(ctx, r.in.Fork)
		if err == nil {
			err = r.letsIn(ctx)
		}
		if !errors.Is(err, errUnreadable) {
			return err
		}
		r.t.Log.InfoContext(ctx, "a copy is made anew from an older snapshot", "lineage", r.in.Lineage, "snapshot", r.copy.Plan.Snapshot, "why", err)
		without := append(slices.Clone(r.copy.Without), r.copy.Plan.Snapshot)
		if again := r.anew(ctx, without); fault.Is(again, fault.Missing) {
			return r.unreadable(err)
		} else if again != nil {
			return again
		}
	}
}

// errUnreadable: a standby replays, and lets nobody in.
var errUnreadable = errors.New("the copy lets nobody in")

func (r *reading) letsIn(ctx context.Context) error {
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
			return fmt.Errorf("%w at %s: %w", errUnreadable, r.in.Fork.LSN, err)
		}
	}
}

func (r *reading) unreadable(why error) error {
	e := fault.Newf(fault.Invalid, opMissing, "%w: a transaction with many subtransactions was open at the fork, and since before every snapshot that there is", why)
	if s := r.group.FindSystemManaged(r.in.Databases[0].Name); s != nil {
		return e.WithHint("Look into it by a branch, and bring over by hand what is missing: %s", s.BranchCommand(&r.group))
	}
	return e
}

// connect opens a connection to the copy.
func (r *reading) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	s, err := postgres.Load(r.t.missingDir(r.in))
	if err != nil {
		return nil, err
	}
	return s.Open(ctx, database)
}

// input is what is read of the copy.
func (r *reading) input() missing.ReadInput {
	in := missing.ReadInput{
		Changes: r.changes, Connect: r.connect, Dir: filepath.Join(r.t.missingDir(r.in), "kept"), Workspace: r.in.Workspace, Lineage: r.in.Lineage,
		Progress: func(database, table string, done, total int64) {
			r.pulse.say(MissingProgress{Phase: "read rows", Database: database, Table: table, Done: done, Total: total})
		},
	}
	for _, of := range r.in.Databases {
		in.Databases = append(in.Databases, of.Database)
	}
	return in
}
