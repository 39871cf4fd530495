package activities

import (
	"context"
	"io"
	"slices"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// ReadMissing finds out what a server that was left wrote behind the fork, on a copy of it that it brings up on this host, and keeps that in the bucket
// of the region that serves. What was found before is not looked for again. The copy is removed at the end; where this fails it stays for
// another attempt.
func (t *Target) ReadMissing(ctx context.Context, in MissingJob) (ReadMissingResult, error) {
	p := beat(ctx)
	defer p.end()
	r, err := t.readMissing(ctx, in, p)
	return r, judge(ctx, describe(err, "workspace %s", in.Workspace))
}

// RemoveMissing removes what a comparison that was killed left on this host.
func (t *Target) RemoveMissing(ctx context.Context, in MissingJob) error {
	p := beat(ctx)
	defer p.end()
	ctx, release, err := t.followers.take(ctx, t.missingDir(in))
	if err == nil {
		defer release()
		err = t.removeMissing(ctx, in)
	}
	return judge(ctx, err)
}

func (t *Target) readMissing(ctx context.Context, in MissingJob, p *pulse) (result ReadMissingResult, err error) {
	ctx, release, err := t.followers.take(ctx, t.missingDir(in))
	if err != nil {
		return result, err
	}
	defer release()
	there, err := t.setsThere(ctx, in)
	if err != nil || there {
		return result, err
	}
	r, err := t.newReading(ctx, in, p)
	if err != nil {
		return result, err
	}
	if err := r.scan(ctx); err != nil {
		return result, err
	}
	if err := r.toFork(ctx); err != nil {
		return result, err
	}
	if err := r.toTip(ctx); err != nil {
		return result, err
	}
	return ReadMissingResult{r.notes}, t.removeMissing(ctx, in)
}

// reading is one ReadMissing.
type reading struct {
	t       *Target
	in      MissingJob
	group   topology.Group
	store   objectstore.Store // that gets the sets
	pulse   *pulse
	changes *missing.Changes
	commits int64 // behind the fork, of the whole server
	copy    missingCopy
	notes   []string
}

func (t *Target) newReading(ctx context.Context, in MissingJob, p *pulse) (*reading, error) {
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return nil, err
	}
	store, err := t.store(in.Serves)
	return &reading{t: t, in: in, group: loaded.Group, store: store, pulse: p}, err
}

// scan reads in WAL what was committed behind the fork.
func (r *reading) scan(ctx context.Context) error {
	l := r.group.FindLineage(r.in.Workspace, r.in.Lineage)
	if l == nil {
		return fault.Newf(fault.Missing, opMissing, "group %s does not know lineage %s any more", r.in.Group, r.in.Lineage)
	}
	legs, err := r.t.missingWay(r.group, r.in, nil)
	if err != nil {
		return err
	}
	records := restore.Records{Legs: legs, SegmentSize: l.SegmentSize}
	oldest, err := records.Oldest(ctx)
	if err != nil {
		return err
	}
	r.changes, err = missing.Scan(ctx, missing.ScanInput{
		Walk: r.counted(records.Walk), Fork: r.in.Fork.LSN, Tip: r.in.Tip.LSN, Oldest: oldest, Segment: l.SegmentSize,
		Progress: func(done, total int64) { r.pulse.say(MissingProgress{Phase: "read WAL", Done: done, Total: total}) },
	})
	if err == nil && r.in.Full {
		r.changes.Expired = true
	}
	return err
}

// counted counts the commits behind the fork.
func (r *reading) counted(walk missing.Walk) missing.Walk {
	return func(ctx context.Context, from, to wal.LSN, visit func(wal.Record) error) error {
		return walk(ctx, from, to, func(rec wal.Record) error {
			if e, ends := rec.Ending(); ends && e.Committed && rec.Start >= r.in.Fork.LSN {
				r.commits++
			}
			return visit(rec)
		})
	}
}

// toFork reads the copy at the fork, unless an earlier attempt has.
func (r *reading) toFork(ctx context.Context) error {
	if err := r.begin(ctx); err != nil || r.copy.Forked {
		return err
	}
	if err := r.readAt(ctx, r.in.Fork, func() error { return missing.ReadFork(ctx, r.input()) }); err != nil {
		return err
	}
	if r.copy.Forked = true; r.copy.Promoted { // it goes nowhere from there
		return r.again(ctx)
	}
	return r.save()
}

// toTip reads the copy at the tip, and keeps what was found. It counts once all databases were read.
func (r *reading) toTip(ctx context.Context) error {
	var sets map[string]*missing.ObjectWriter
	var found missing.TipResult
	err := r.readAt(ctx, r.in.Tip, func() (err error) {
		sets, found, err = r.readTip(ctx)
		return err
	})
	if err != nil {
		return err
	}
	r.notes = append(r.notes, found.Notes...)
	for database, set := range sets {
		if err := set.Publish(ctx, r.object(database, found)); err != nil {
			return err
		}
	}
	return nil
}

// readTip writes the sets. A database that is not there at the tip, or cannot be compared, has one without contents.
func (r *reading) readTip(ctx context.Context) (map[string]*missing.ObjectWriter, missing.TipResult, error) {
	sets := map[string]*missing.ObjectWriter{}
	found, err := missing.ReadTip(ctx, r.input(), func(database string) (io.WriteCloser, error) {
		of := MissingOf{Database: database}
		sets[database] = missing.CreateObject(ctx, r.store, r.in.place(of).SetKey(r.in.Full))
		return sets[database], nil
	})
	for database := range found.Refused {
		delete(sets, database)
	}
	for _, of := range r.in.Databases {
		if sets[of.Database] == nil {
			sets[of.Database] = missing.CreateObject(ctx, r.store, r.in.place(of).SetKey(r.in.Full))
		}
	}
	return sets, found, err
}

// object is the document of a database's set.
func (r *reading) object(database string, found missing.TipResult) missing.Object {
	o := missing.Object{Kind: missing.SetObject, Database: database, Lineage: r.in.Lineage, Fork: r.in.Fork.LSN, Tip: r.in.Tip.LSN, MadeAt: now().UTC(),
		Commits: r.commits, Notes: found.Notes}
	if no, refused := found.Refused[database]; refused {
		o.Refused = &no
	}
	if i := slices.IndexFunc(r.in.Databases, func(of MissingOf) bool { return of.Database == database }); i >= 0 {
		o.SystemManaged = r.in.Databases[i].Name
	}
	return o
}
