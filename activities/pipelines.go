package activities

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	// pipelinesFile is the state file that keeps what was decided about subscriptions.
	pipelinesFile = "pipelines.json"
	// workersSetting keeps subscriptions from running while it is 0. It is read at a server's start.
	workersSetting = "max_logical_replication_workers"
	// endsWithin is how long a server may take to end, nobody being connected and a checkpoint just made.
	endsWithin = time.Minute
)

// resumed is what was decided about subscriptions.
type resumed struct {
	Verdicts []metadata.Verdict `json:"verdicts"`
	// Lifted: they were let run. From then on their positions are this server's own, and nothing is decided anew.
	Lifted bool `json:"lifted"`
}

// restorePipelines lets what feeds and drives the databases run again, once its position was compared with the other
// end's. The notes state positions, and what needs attention.
func (t *Target) restorePipelines(ctx context.Context, server *postgres.Server, in RestoreInput, m metadata.Metadata) (notes []string, err error) {
	notes, err = t.resumeSubscriptions(ctx, server, in, m)
	if err != nil {
		return nil, err
	}
	leftOut, err := t.leftOut(ctx, in, databaseNames(m))
	if err != nil {
		return nil, err
	}
	more, err := metadata.PipelineNotes(ctx, server.Open, m.Pipelines, in.Plan.Point.RecordEnd, leftOut...)
	if err != nil && ctx.Err() == nil { // nothing depends on it
		return append(notes, fmt.Sprintf("needs attention: slots, jobs, foreign servers and event triggers could not be looked at: %s", err)), nil
	}
	return append(notes, more...), ctx.Err()
}

// comparable returns what was captured of pipelines and announced of subscriptions, without positions where the WAL that they
// stand for may be another's: that of an epoch whose end was lost.
func (t *Target) comparable(ctx context.Context, in RestoreInput, p metadata.Pipelines) metadata.Pipelines {
	var last topology.Lineage
	if n := len(in.Plan.Legs); n > 0 {
		last = in.Plan.Legs[n-1].Lineage
	}
	document, err := t.Catalog.Metadata(ctx, in.Group, in.Plan.Workspace)
	if err != nil || last.Epoch != document.Epoch {
		p.Known = 0
	}
	announced, err := t.Catalog.WALProgress(ctx, in.Group, in.Plan.Workspace)
	if err == nil && last.Epoch == announced.Epoch && last.ID == announced.Lineage {
		p.Applied = announced.Applied
	}
	return p
}

func databaseNames(m metadata.Metadata) (names []string) {
	for _, d := range m.Databases {
		names = append(names, d.Name)
	}
	return names
}

// resumeSubscriptions may die anywhere: until the server is started with workers nothing runs, and what was decided is
// decided again; after that it is done.
func (t *Target) resumeSubscriptions(ctx context.Context, server *postgres.Server, in RestoreInput, m metadata.Metadata) ([]string, error) {
	var state resumed
	if _, err := readState(server.InstanceDir(), pipelinesFile, &state); err != nil {
		return nil, err
	}
	off, err := workersOff(ctx, server)
	if err != nil || !off {
		return verdictNotes(state.Verdicts), err
	}
	if !state.Lifted {
		end := wal.Position{Timeline: in.Plan.Point.At.Timeline, LSN: in.Plan.Point.RecordEnd}
		now, err := metadata.JudgeSubscriptions(ctx, server.Open, t.comparable(ctx, in, m.Pipelines), end)
		if err != nil {
			return nil, err
		}
		state.Verdicts = supersede(state.Verdicts, now)
		if err := writeState(server.InstanceDir(), pipelinesFile, state); err != nil {
			return nil, err
		}
	}
	if err := metadata.StopSubscriptions(ctx, server.Open, state.Verdicts); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return append(verdictNotes(state.Verdicts), fmt.Sprintf("needs attention: no subscription runs here before %s is taken out of the server's description and it is started again, since one that must not run could not be disabled: %s", workersSetting, err)), nil
	}
	return verdictNotes(state.Verdicts), lift(ctx, server, state)
}

// supersede adds verdicts to those of an earlier attempt, on subscriptions that it has disabled.
func supersede(earlier, now []metadata.Verdict) []metadata.Verdict {
	for _, v := range earlier {
		again := func(n metadata.Verdict) bool { return n.Database == v.Database && n.Name == v.Name }
		if !slices.ContainsFunc(now, again) {
			now = append(now, v)
		}
	}
	return now
}

func verdictNotes(verdicts []metadata.Verdict) (notes []string) {
	for _, v := range verdicts {
		notes = append(notes, v.Note)
	}
	return notes
}

// workersOff reports whether the server was started in such a way that no subscription runs.
func workersOff(ctx context.Context, server *postgres.Server) (off bool, err error) {
	conn, err := server.Open(ctx, "postgres")
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only read from
	err = conn.QueryRow(ctx, `select setting = '0' and source = 'command line' from pg_settings where name = $1`, workersSetting).Scan(&off)
	if err != nil {
		return false, fault.New(fault.Transient, "read settings", err)
	}
	return off, nil
}

// lift starts the server again with workers. The checkpoint makes its end short.
func lift(ctx context.Context, server *postgres.Server, state resumed) error {
	conn, err := server.Open(ctx, "postgres")
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, `checkpoint`)
	_ = conn.Close(context.WithoutCancel(ctx)) // a checkpoint is made or not
	if err != nil {
		return fault.New(fault.Transient, "make checkpoint", err)
	}
	delete(server.Settings, workersSetting)
	if err := server.Save(); err != nil {
		return err
	}
	state.Lifted = true
	if err := writeState(server.InstanceDir(), pipelinesFile, state); err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, endsWithin)
	defer cancel()
	if err := server.Stop(within, postgres.Fast); err != nil {
		return err
	}
	return server.Start(ctx)
}
