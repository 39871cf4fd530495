package activities

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
)

// RestoreSnapshot brings the snapshot's files.
func (t *Target) RestoreSnapshot(ctx context.Context, in RestoreInput) (PhaseResult, error) {
	p := beat(ctx)
	defer p.end()
	result, err := t.restoreSnapshot(ctx, in, p)
	return result, judge(ctx, err)
}

func (t *Target) restoreSnapshot(ctx context.Context, in RestoreInput, p *pulse) (PhaseResult, error) {
	if err := checkOwned(in); err != nil {
		return PhaseResult{}, err
	}
	var before PhaseResult
	if done, err := t.restoredBefore(&in, &before); done || err != nil {
		return before, err
	}
	store, err := t.store(in.To)
	if err != nil {
		return PhaseResult{}, err
	}
	m, err := snapshot.Load(ctx, store, in.Group, in.Plan.Workspace, in.Plan.Snapshot)
	if err != nil {
		return PhaseResult{}, err
	}
	account, err := postgres.DefaultAccount()
	if err != nil {
		return PhaseResult{}, err
	}
	files := restore.FilesInput{Store: store, Manifest: m, DataDir: in.Place.DataDir, Reuse: append(in.Reuse, t.reuse(ctx, in)...), Log: t.Log,
		Progress: func(done, total int64) { p.say(amount{done, total, in.Plan.Workspace}) }}
	if account != nil {
		files.UID, files.GID = int(account.UID), int(account.GID)
	}
	r, err := restore.Files(ctx, files)
	if err != nil {
		return PhaseResult{}, err
	}
	result := brought(r)
	return result, writeState(in.Place.Instance, restoredFile, result)
}

// restoredBefore reports whether the files are there already, also as those of a standby, whose own snapshot they are then.
// Recovery may have begun: they are the server's now.
func (t *Target) restoredBefore(in *RestoreInput, r *PhaseResult) (bool, error) {
	if done, err := readState(in.Place.Instance, restoredFile, r); done || err != nil {
		r.Note = "was there already"
		return done, err
	}
	done, err := readState(in.Place.Instance, walFile, new(restore.FetchedWAL))
	r.Note = "was there already"
	if in.Standby == "" || done || err != nil {
		return done, err
	}
	var o owner // an attempt that began with an older snapshot goes on with that one
	_, err = readState(in.Place.Instance, ownerFile, &o)
	in.Plan.Snapshot = o.Plan.Snapshot
	return false, err
}

func brought(r restore.FilesResult) PhaseResult {
	note := fmt.Sprintf("%s in %d files, %s fetched", megabytes(r.Bytes), r.Files, megabytes(r.Fetched))
	if r.Local > 0 {
		note += fmt.Sprintf(", %s found on the host", megabytes(r.Local))
	}
	return PhaseResult{Note: note, Moved: &topology.Moved{Bytes: r.Bytes, Fetched: r.Fetched, Reused: r.Local}}
}

// FetchWAL brings the WAL from the snapshot's start to the recovery point, and verifies all of it.
func (t *Target) FetchWAL(ctx context.Context, in RestoreInput) (PhaseResult, error) {
	p := beat(ctx)
	defer p.end()
	result, err := t.fetchWAL(ctx, in, p)
	return result, judge(ctx, err)
}

func (t *Target) fetchWAL(ctx context.Context, in RestoreInput, p *pulse) (PhaseResult, error) {
	if err := checkOwned(in); err != nil {
		return PhaseResult{}, err
	}
	if done, err := readState(in.Place.Instance, walFile, new(restore.FetchedWAL)); done || err != nil {
		return PhaseResult{Note: "was there already"}, err
	}
	store, err := t.store(in.To)
	if err != nil {
		return PhaseResult{}, err
	}
	fetch := restore.FetchWAL{
		Dir: filepath.Join(in.Place.DataDir, "pg_wal"), SegmentSize: in.Plan.SegmentSize, Log: t.Log,
		Progress: func(done, total int64) { p.say(amount{done, total, in.Plan.Workspace}) },
	}
	for i, l := range in.Plan.Legs {
		a := leftAt(archive.Open(store, in.Group, in.Plan.Workspace, l.Lineage.ID), lineagesOf(in.Plan.Legs), i)
		if i == len(in.Plan.Legs)-1 {
			a = a.UpTo(in.Plan.Point.At.Timeline) // the old side may go to another one meanwhile
		}
		fetch.Legs = append(fetch.Legs, restore.Leg{Archive: a, Lineage: l.Lineage, From: l.From, To: l.To})
	}
	fetched, err := fetch.Run(ctx)
	if err != nil {
		return PhaseResult{}, err
	}
	if fetched.End.LSN < in.Plan.Point.At.LSN {
		return PhaseResult{}, fault.Newf(fault.Missing, "fetch WAL", "workspace %s: WAL from %s to the recovery point %s is missing",
			in.Plan.Workspace, fetched.End.LSN, in.Plan.Point.At.LSN)
	}
	if err := t.giveAway(in, fetch.Dir); err != nil {
		return PhaseResult{}, err
	}
	note := fmt.Sprintf("%s up to %s, %s fetched", megabytes(int64(fetched.End.LSN-fetched.Start)), fetched.End, megabytes(fetched.Fetched))
	return PhaseResult{Note: note}, writeState(in.Place.Instance, walFile, fetched)
}

// giveAway gives files to the account that the server will run under.
func (t *Target) giveAway(in RestoreInput, dir string) error {
	server, err := t.server(in.Place.Instance, in.Place.Port, in.Plan.ServerVersion)
	if err != nil {
		return err
	}
	return server.OwnTree(dir)
}

// AttachBranch recovers exactly to the recovery point, promotes, and describes the lineage that begins there.
func (t *Target) AttachBranch(ctx context.Context, in RestoreInput) (AttachBranchResult, error) {
	p := beat(ctx)
	defer p.end()
	result, err := t.attachBranch(ctx, in, p)
	return result, judge(ctx, err)
}

func (t *Target) attachBranch(ctx context.Context, in RestoreInput, p *pulse) (AttachBranchResult, error) {
	if err := checkOwned(in); err != nil {
		return AttachBranchResult{}, err
	}
	var fetched restore.FetchedWAL
	if found, err := readState(in.Place.Instance, walFile, &fetched); err != nil || !found {
		return AttachBranchResult{}, errors.Join(err, fault.Newf(fault.Missing, "attach", "the WAL of %s was not fetched", in.Place.Instance))
	}
	m, err := t.metadataOrNone(ctx, in)
	if err != nil {
		return AttachBranchResult{}, err
	}
	attach, notes, err := t.attachInput(ctx, in, fetched, m)
	if err != nil {
		return AttachBranchResult{}, err
	}
	attach.Progress = func(a restore.AttachProgress) { p.say(a) }
	attached, err := restore.Attach(ctx, attach)
	if err != nil {
		return AttachBranchResult{}, err
	}
	if err := writeState(in.Place.Instance, attachedFile, attached); err != nil {
		return AttachBranchResult{}, err
	}
	note := fmt.Sprintf("recovered to %s, timeline %d", attached.Fork.LSN, attached.Timeline)
	return AttachBranchResult{
		PhaseResult: PhaseResult{Note: note, Notes: append(notes, attached.Notes...)}, Lineage: newLineage(in, attached), Source: attach.Server.Source("postgres"),
	}, nil
}

func newLineage(in RestoreInput, a restore.Attached) topology.Lineage {
	last := in.Plan.Legs[len(in.Plan.Legs)-1].Lineage.ID
	return topology.Lineage{
		ID: in.Plan.Lineage, Epoch: in.Epoch, Region: in.To, SystemID: a.SystemID, SegmentSize: in.Plan.SegmentSize,
		Start: a.Start, Parent: &topology.Fork{Lineage: last, At: a.Fork}, CreatedAt: now(),
	}
}

// metadataOrNone returns what was captured of the primary, or what is true of any server.
func (t *Target) metadataOrNone(ctx context.Context, in RestoreInput) (metadata.Metadata, error) {
	m, err := t.metadata(ctx, in.Group, in.Plan.Workspace)
	if fault.Is(err, fault.Missing) {
		return metadata.Metadata{ServerVersion: in.Plan.ServerVersion, Superusers: []string{"postgres"}}, nil
	}
	return m, err
}

func megabytes(n int64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/1e6), ".0") + " MB"
}
