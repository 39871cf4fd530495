package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/topology"
)

// MissingRows compares what a failover left behind with what serves, and merges what is missing if asked to. A comparison changes nothing. What was read
// of the old server once is kept, so that a comparison and the merge after it read it once.
func MissingRows(ctx workflow.Context, in MissingRowsInput) (MissingRowsResult, error) {
	result, err := missingRows(ctx, in)
	return result, refuse(err)
}

func missingRows(ctx workflow.Context, in MissingRowsInput) (MissingRowsResult, error) {
	in, err := in.complete()
	if err != nil {
		return MissingRowsResult{}, err
	}
	m := &missingRun{in: in}
	if err := workflow.SetQueryHandler(ctx, ProgressQuery, func() (MissingRowsProgress, error) { return m.progress, nil }); err != nil {
		return MissingRowsResult{}, err
	}
	var group topology.Group
	if err := workflow.ExecuteActivity(asked(ctx, TaskQueue, "read the group"), control.ReadGroup, activities.ReadGroupInput{Group: in.Group}).Get(ctx, &group); err != nil {
		return MissingRowsResult{}, err
	}
	if err := label(ctx, groupKey.ValueSet(in.Group), regionKey.ValueSet(group.Active)); err != nil {
		return MissingRowsResult{}, err
	}
	var placed activities.PlaceMissingResult
	err = m.step(ctx, "Finding what region "+group.Active+" lacks of the old one", func() error {
		ask := activities.PlaceMissingInput{Group: in.Group, Of: in.Of, Workspace: in.Workspace, Full: in.Full}
		return workflow.ExecuteActivity(locating(ctx, RegionQueue(group.Active), "find what was left behind, and a host for a copy of it"), target.PlaceMissing, ask).Get(ctx, &placed)
	})
	if err != nil {
		return MissingRowsResult{}, refuseAt(group.Active, err)
	}
	return m.compare(ctx, placed)
}

// complete fills in what may be left out, and refuses what cannot be meant.
func (in MissingRowsInput) complete() (MissingRowsInput, error) {
	if in.Group == "" {
		return in, invalid(`give one, as in {"group":"prod"}`, "a comparison needs a group")
	}
	if in.OnConflict == "" {
		in.OnConflict = missing.Keep
	}
	if in.OnConflict != missing.Keep && in.OnConflict != missing.Theirs {
		return in, invalid("choose keep or theirs", "%q is no way to settle conflicts", in.OnConflict)
	}
	return in, nil
}

// missingRun is one comparison.
type missingRun struct {
	in       MissingRowsInput
	run      string // in the names of what is kept
	progress MissingRowsProgress
	notes    []string
}

// compare reads what each server that was left wrote, and compares it, database by database. One that cannot be compared does not hold up the
// others.
func (m *missingRun) compare(ctx workflow.Context, placed activities.PlaceMissingResult) (MissingRowsResult, error) {
	info := workflow.GetInfo(ctx)
	m.run = strings.ToLower(workflow.Now(ctx).UTC().Format("20060102T150405Z")) + "-" + info.WorkflowExecution.RunID[:8]
	m.notes = placed.Notes
	result := MissingRowsResult{Databases: []MissingDatabase{}}
	var failed []error
	for _, job := range placed.Jobs {
		if err := m.read(ctx, job); err != nil {
			return result, err
		}
		for _, of := range job.Databases {
			found, err := m.merge(ctx, job, of)
			if ctx.Err() != nil {
				return result, ctx.Err()
			}
			if err != nil {
				failed = append(failed, err)
			}
			result.Databases = append(result.Databases, found)
		}
	}
	if len(failed) > 0 && len(failed) == len(result.Databases) {
		return MissingRowsResult{}, joined(failed)
	}
	result.Notes = m.notes
	m.say(ctx, result)
	return result, nil
}

// read makes the sets of one server's databases, unless they are there.
func (m *missingRun) read(ctx workflow.Context, job activities.MissingJob) error {
	if job.Host == "" {
		return nil
	}
	queue := siteQueue(job.Region, job.Host)
	return m.step(ctx, fmt.Sprintf("Reading on host %s what workspace %s had behind %s, up to %s", job.Host, job.Workspace, job.Fork.LSN, job.Tip.LSN), func() error {
		var read activities.ReadMissingResult
		err := workflow.ExecuteActivity(attachingOn(ctx, queue, "read what "+job.Workspace+" wrote behind the fork"), target.ReadMissing, job).Get(ctx, &read)
		m.notes = append(m.notes, read.Notes...)
		if err == nil {
			return nil
		}
		forget, cancel := workflow.NewDisconnectedContext(ctx)
		defer cancel()
		if gone := workflow.ExecuteActivity(clearing(forget, queue, "remove what it left"), target.RemoveMissing, job).Get(forget, nil); gone != nil {
			workflow.GetLogger(ctx).Warn("a copy is still there: the next comparison removes it", "host", job.Host, "lineage", job.Lineage, "error", gone)
		}
		return refuseOn(job.Region, job.Host, err)
	})
}

// merge compares one database, or merges it, and records that.
func (m *missingRun) merge(ctx workflow.Context, job activities.MissingJob, of activities.MissingOf) (MissingDatabase, error) {
	found := MissingDatabase{Name: of.Name, Region: job.Serves, Summary: missing.Summary{Database: of.Database}}
	what := "Comparing " + of.Database + " with what serves"
	if m.in.Apply {
		what = "Merging what is missing into " + of.Database
	}
	err := m.step(ctx, what, func() error {
		in := activities.MergeMissingInput{Job: job, Of: of, Run: m.run, Apply: m.in.Apply, Policy: m.in.OnConflict, Decisions: m.in.Decisions, Whole: m.in.WholeTransactions}
		var r activities.MergeMissingResult
		err := workflow.ExecuteActivity(attachingOn(ctx, siteQueue(job.Serves, job.On), what), source.MergeMissing, in).Get(ctx, &r)
		if err != nil {
			return refuseOn(job.Serves, job.On, err)
		}
		found.Summary, found.Report, found.Undo = r.Summary, r.Report, r.Undo
		return m.record(ctx, job, of, r)
	})
	if err != nil {
		f := FailureOf(err)
		found.Error, found.Hint = f.Message, f.Hint
	}
	return found, err
}

// record says in the catalog up to where a database was merged. That it has been is so whoever cancels now.
func (m *missingRun) record(ctx workflow.Context, job activities.MissingJob, of activities.MissingOf, r activities.MergeMissingResult) error {
	if r.Merged == nil {
		return nil
	}
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	in := activities.RecordMergedInput{Group: job.Group, Workspace: job.Workspace, Name: of.Name, Merged: *r.Merged}
	return workflow.ExecuteActivity(trying(ctx, TaskQueue, "record up to where it was merged"), control.RecordMerged, in).Get(ctx, nil)
}

// step does one thing, and shows it.
func (m *missingRun) step(ctx workflow.Context, what string, do func() error) error {
	m.progress.Steps = append(m.progress.Steps, MissingRowsStep{What: what, StartedAt: workflow.Now(ctx).UTC()})
	at := &m.progress.Steps[len(m.progress.Steps)-1]
	workflow.SetCurrentDetails(ctx, what)
	err := do()
	at.EndedAt = workflow.Now(ctx).UTC()
	if err != nil {
		at.Error = FailureOf(err).Message
	}
	return err
}

// say shows the result in the Temporal UI.
func (m *missingRun) say(ctx workflow.Context, r MissingRowsResult) {
	var b strings.Builder
	b.WriteString("| database | missing | conflicts | applied | |\n|---|---|---|---|---|\n")
	for _, d := range r.Databases {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %s |\n", d.Name, d.Summary.Classes[missing.Missing], d.Summary.Conflicts, d.Summary.Applied, d.Error)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "\n- %s", n)
	}
	workflow.SetCurrentDetails(ctx, b.String())
}

// MissingRowsProgress is what a comparison has done and is doing, as the query `progress` returns it.
type MissingRowsProgress struct {
	Steps []MissingRowsStep `json:"steps"`
}

// MissingRowsStep is one step of a comparison.
type MissingRowsStep struct {
	What      string    `json:"what"`
	StartedAt time.Time `json:"startedAt"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
	Error     string    `json:"error,omitempty"`
}
