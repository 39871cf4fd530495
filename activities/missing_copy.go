package activities

import (
	"context"
	"errors"
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
)

const (
	// missingFolder holds the copies of servers that are compared on a host. It is no group's: nothing that looks after servers finds it.
	missingFolder = ".missing"
	// missingFile, in the folder of a comparison, says how far that is. The copy's own folder, and what is kept between fork and tip, lie beside it.
	missingFile = "missing.json"
	copyFolder  = "copy"
	keptFolder  = "kept"
)

// missingCopy is what is known of a copy.
type missingCopy struct {
	Job    MissingJob    `json:"job"`
	Plan   WorkspacePlan `json:"plan"`
	Port   int           `json:"port"`
	Files  bool          `json:"files"`  // all are there
	Forked bool          `json:"forked"` // what is needed of the fork was read
	// Promoted: the copy has to be promoted where it is read, and made anew behind that.
	Promoted bool `json:"promoted,omitempty"`
}

// missingDir is the folder of a comparison: one for each server that was left, so that whoever comes after one that was killed finds it.
func (t *Target) missingDir(in MissingJob) string {
	return filepath.Join(t.DataDir, missingFolder, in.Group, in.Workspace+"-"+in.Lineage)
}

func (t *Target) removeMissing(ctx context.Context, in MissingJob) error {
	return removeComparison(ctx, t.missingDir(in))
}

func removeComparison(ctx context.Context, dir string) error {
	if err := removeCopy(ctx, filepath.Join(dir, copyFolder)); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fault.New(fault.Transient, "remove folder of a comparison", err)
	}
	return nil
}

// abandonedAfter is how long a copy stays on which nobody works: who tries again does so within a minute.
const abandonedAfter = time.Hour

// sweepMissing removes copies whose comparison has ended without removing them, as one that was terminated.
func (t *Target) sweepMissing(ctx context.Context) error {
	files, err := filepath.Glob(filepath.Join(t.DataDir, missingFolder, "*", "*", missingFile))
	if err != nil || t.DataDir == "" {
		return err
	}
	var errs []error
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil || time.Since(info.ModTime()) < abandonedAfter {
			continue // it is being removed, or was begun lately
		}
		dir := filepath.Dir(f)
		if older, mine := t.followers.try(dir); older == nil {
			t.Log.InfoContext(ctx, "removing a copy that nobody compares any more", "folder", dir)
			errs = append(errs, removeComparison(ctx, dir))
			t.followers.release(dir, mine.turnHolder)
		}
	}
	return errors.Join(errs...)
}

// removeCopy ends and removes a server that was only read.
func removeCopy(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := stopInstance(ctx, dir); err != nil {
		return err
	}
	return removeWithSocket(ctx, dir)
}

func (r *reading) dir() string { return r.t.missingDir(r.in) }

func (r *reading) instance() string { return filepath.Join(r.dir(), copyFolder) }

func (r *reading) save() error { return writeState(r.dir(), missingFile, r.copy) }

// begin takes up what another attempt has left, or begins anew.
func (r *reading) begin(ctx context.Context) error {
	var was missingCopy
	found, err := readState(r.dir(), missingFile, &was)
	if err != nil && !fault.Is(err, fault.Corrupt) {
		return err
	}
	if found && err == nil && r.same(was) {
		if r.copy = was; was.Promoted { // it may stand anywhere
			return r.again(ctx)
		}
		return stopInstance(ctx, r.instance()) // it goes on with the settings that it needs now
	}
	if err := r.t.removeMissing(ctx, r.in); err != nil {
		return err
	}
	r.copy = missingCopy{Job: r.in}
	if r.copy.Plan, err = r.t.planFork(ctx, r.group, r.in); err != nil {
		return err
	}
	return r.again(ctx)
}

// same reports whether a copy is of what is asked for.
func (r *reading) same(was missingCopy) bool {
	a, b := was.Job, r.in
	return a.Lineage == b.Lineage && a.Fork == b.Fork && a.Tip == b.Tip && a.Full == b.Full && slices.Equal(a.Databases, b.Databases)
}

// again lets the copy be made anew.
func (r *reading) again(ctx context.Context) error {
	if err := removeCopy(ctx, r.instance()); err != nil {
		return err
	}
	if err := os.MkdirAll(r.instance(), 0o755); err != nil {
		return fault.New(diskKind(err), "make folder", err)
	}
	r.copy.Files = false
	return r.save()
}

// promote goes over to copies that are promoted where they are read.
func (r *reading) promote(ctx context.Context, why error) error {
	r.t.Log.InfoContext(ctx, "the copy is promoted where it is read", "lineage", r.in.Lineage, "why", why)
	r.copy.Promoted = true
	return r.again(ctx)
}

// restored is how the copy is described to what restores.
func (r *reading) restored() (in RestoreInput, err error) {
	in = RestoreInput{Group: r.in.Group, To: r.in.Bucket, Plan: r.copy.Plan, Branch: missingFolder, Attachment: "missing", ReadOnly: !r.copy.Promoted}
	in.Place, err = r.t.place(r.instance(), r.copy.Port, r.copy.Plan)
	return in, err
}

// files brings those of the snapshot, once: replay changes them.
func (r *reading) files(ctx context.Context) (err error) {
	if r.copy.Port, err = anyPort(); err != nil { // another one may have the last one by now
		return err
	}
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

// attach says how the copy's server is run.
func (r *reading) attach(ctx context.Context, fetched restore.FetchedWAL) (restore.AttachInput, error) {
	in, err := r.restored()
	if err != nil {
		return restore.AttachInput{}, err
	}
	m, err := r.t.metadataOrNone(ctx, in)
	if err != nil {
		return restore.AttachInput{}, err
	}
	attach, _, err := r.t.attachInput(ctx, in, fetched, m)
	if r.copy.Promoted && err == nil {
		attach.SlotName = ""
		attach.Overrides["autovacuum"], attach.Overrides["default_transaction_read_only"] = "off", "on"
	}
	return attach, err
}

// connect opens a connection to the copy.
func (r *reading) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	s, err := postgres.Load(r.instance())
	if err != nil {
		return nil, err
	}
	return s.Open(ctx, database)
}

// input is what is read of the copy.
func (r *reading) input() missing.ReadInput {
	in := missing.ReadInput{
		Changes: r.changes, Connect: r.connect, Dir: filepath.Join(r.dir(), keptFolder), Workspace: r.in.Workspace, Lineage: r.in.Lineage,
		Progress: func(database, table string, done, total int64) {
			r.pulse.say(MissingProgress{Phase: "read rows", Database: database, Table: table, Done: done, Total: total})
		},
	}
	for _, of := range r.in.Databases {
		in.Databases = append(in.Databases, of.Database)
	}
	return in
}
