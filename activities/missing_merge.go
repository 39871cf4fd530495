package activities

import (
	"context"
	"io"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// MergeMissing compares what a database of the old server has with the one that serves, keeps what it finds as a report, and merges it if asked to. It
// may be killed at any moment, also right after a merge has committed: another attempt finds that, and tells of it.
func (s *Source) MergeMissing(ctx context.Context, in MergeMissingInput) (MergeMissingResult, error) {
	p := beat(ctx)
	defer p.end()
	r, err := s.mergeMissing(ctx, in, p)
	return r, judge(ctx, describe(err, "database %s of workspace %s", in.Of.Database, in.Job.Workspace))
}

// RecordMerged says in the group's document up to where a system-managed database was merged.
func (c *Control) RecordMerged(ctx context.Context, in RecordMergedInput) error {
	p := beat(ctx)
	defer p.end()
	_, err := c.Catalog.Update(ctx, in.Group, in.record)
	return judge(ctx, err)
}

func (in RecordMergedInput) record(g *topology.Group) error {
	for i := range g.SystemManaged {
		if s := &g.SystemManaged[i]; s.Workspace == in.Workspace && s.Name == in.Name {
			s.Merged = &in.Merged
		}
	}
	return nil // one that is not there any more has nothing to say
}

// merging is one MergeMissing.
type merging struct {
	*Source
	in    MergeMissingInput
	group topology.Group
	space topology.Workspace
	store objectstore.Store // of the region that serves
	set   missing.Object
	conn  *pgx.Conn
	pulse *pulse

	report *missing.ObjectWriter
	lines  *missing.LineWriter // nil: the report is there
	undo   string              // key of the record of this attempt
	before mergedBefore
}

// mergedBefore is a merge of this run that an earlier attempt has made.
type mergedBefore struct {
	undo string // key; empty: there is none
	xid  uint64
}

func (s *Source) mergeMissing(ctx context.Context, in MergeMissingInput, p *pulse) (r MergeMissingResult, err error) {
	m := &merging{Source: s, in: in, pulse: p}
	if m.store, err = s.store(in.Job.Serves); err != nil {
		return r, err
	}
	key := in.Job.place(in.Of).SetKey(in.Job.Full)
	if m.set, err = missing.ReadObject(ctx, m.store, key); err != nil {
		return r, err
	}
	if no := m.set.Refused; no != nil {
		return r, fault.Newf(fault.Invalid, opMissing, "it was not compared: %s", no.Why).WithHint("%s", no.Hint)
	}
	if len(m.set.Parts) == 0 {
		return MergeMissingResult{Summary: missing.Summary{Database: in.Of.Database, Tables: []missing.TableSummary{}, Notes: m.set.Notes}}, nil
	}
	if m.group, m.space, err = m.permitted(ctx); err != nil {
		return r, err
	}
	if m.conn, err = s.servingDatabase(ctx, m.group, m.space, in.Of.Database); err != nil {
		return r, err
	}
	defer m.conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // all was said
	return m.run(ctx, key)
}

// permitted reads the group, and refuses when it is not as it was when the comparison was placed: nothing is written to a server that may not
// serve any more in a moment.
func (m *merging) permitted(ctx context.Context) (topology.Group, topology.Workspace, error) {
	l, err := m.Catalog.Load(ctx, m.in.Job.Group)
	if err != nil {
		return l.Group, topology.Workspace{}, err
	}
	g := l.Group
	if err := catalog.Controls(&g, m.Controller); err != nil {
		return g, topology.Workspace{}, err
	}
	w := g.Workspace(m.in.Job.Workspace)
	switch {
	case g.Epoch != m.in.Job.Epoch || g.Active != m.in.Job.Serves || g.Claimed != nil && g.Claimed.Epoch > g.Epoch:
		return g, topology.Workspace{}, fault.Newf(fault.Fenced, opMissing, "group %s has another epoch than %d: another region serves, or is about to", g.Name, m.in.Job.Epoch).
			WithHint("Compare again.")
	case m.in.Apply && g.Operation != nil:
		return g, topology.Workspace{}, fault.Newf(fault.Taken, opMissing, "%s %s of group %s is under way", g.Operation.Kind, g.Operation.ID, g.Name).
			WithHint("Merge when it is over; see: smartdr operations %s.", g.Name)
	case w == nil || w.State != topology.WorkspaceActive || w.Sites[g.Active].Source.ConnString == "":
		return g, topology.Workspace{}, fault.Newf(fault.Invalid, opMissing, "workspace %s has no server that serves", m.in.Job.Workspace)
	case m.space.Name != "" && w.Lineage != m.space.Lineage:
		return g, topology.Workspace{}, fault.Newf(fault.Fenced, opMissing, "another server serves workspace %s now", w.Name).WithHint("Compare again.")
	}
	return g, *w, nil
}

func (m *merging) run(ctx context.Context, set string) (r MergeMissingResult, err error) {
	if m.before, err = m.earlier(ctx); err != nil {
		return r, err
	}
	if err := m.openReport(ctx); err != nil {
		return r, err
	}
	decisions, err := m.decisions(ctx)
	if err != nil {
		return r, err
	}
	input := missing.MergeInput{
		Conn: m.conn, Apply: m.in.Apply, Policy: m.in.Policy, Decisions: decisions, Whole: m.in.Whole, Merged: m.merged(ctx), Undo: m.keepUndo,
		Open: func(ctx context.Context) (io.ReadCloser, error) {
			_, content, err := missing.OpenObject(ctx, m.store, set)
			return content, err
		},
		Begin:  func(h missing.Header) error { return m.lines.Write(h) },
		Report: func(c missing.Change) error { return m.lines.Write(c) },
		Progress: func(phase string, done, total int64) {
			m.pulse.say(MissingProgress{Phase: phase, Database: m.in.Of.Database, Done: done, Total: total})
		},
	}
	if r.Summary, err = missing.Merge(ctx, input); err != nil {
		return r, err
	}
	return m.finish(ctx, r)
}

// decisions are those about this database.
func (m *merging) decisions(ctx context.Context) ([]missing.Decision, error) {
	if m.in.Decisions == "" {
		return nil, nil
	}
	all, err := missing.ReadDecisions(ctx, m.store, m.in.Job.Group, m.in.Decisions)
	return all[m.in.Of.Name], err
}

// openReport begins the report. That of an attempt whose merge has committed tells of what it did, and stays as it is.
func (m *merging) openReport(ctx context.Context) (err error) {
	m.report = missing.CreateObject(ctx, m.store, m.reportKey())
	var to io.Writer = m.report
	if m.before.undo != "" {
		to = io.Discard
	}
	m.lines, err = missing.NewLineWriter(to)
	return err
}

// finish keeps the report, and says what there is to record.
func (m *merging) finish(ctx context.Context, r MergeMissingResult) (MergeMissingResult, error) {
	if m.lines != nil {
		if err := m.publish(ctx); err != nil {
			return r, err
		}
	}
	r.Undo, r.Report = m.undo, m.reportKey()
	if m.before.undo != "" {
		var err error
		if r.Summary, err = m.retold(ctx, r.Summary); err != nil {
			return r, err
		}
		if r.Undo == "" {
			r.Undo, r.Summary.XID = m.before.undo, m.before.xid
		}
	}
	if err := missing.Describe(ctx, m.store, r.Report, r.Summary); err != nil {
		return r, err
	}
	if r.Summary = brief(r.Summary); !m.in.Apply {
		return r, nil
	}
	var at string
	if err := m.conn.QueryRow(ctx, "select pg_current_wal_insert_lsn()::text").Scan(&at); err != nil {
		return r, sqlError(opMissing, err)
	}
	lsn, err := wal.ParseLSN(at)
	if err != nil {
		return r, fault.New(fault.Corrupt, opMissing, err)
	}
	r.Merged = &topology.Merged{At: m.in.Job.End, Commits: m.set.Commits, Time: now().UTC(), Applied: r.Summary.Applied, Conflicts: r.Summary.Conflicts,
		Lineage: m.space.Lineage, LSN: lsn}
	return r, nil
}

func (m *merging) reportKey() string { return m.in.Job.place(m.in.Of).ReportKey(m.in.Run) }

// publish makes the report count, unless it is that of an attempt whose merge has committed already.
func (m *merging) publish(ctx context.Context) error {
	err := m.lines.Close()
	if m.lines = nil; err != nil || m.before.undo != "" {
		return err
	}
	return m.report.Publish(ctx, missing.Object{Kind: missing.ReportObject, SystemManaged: m.in.Of.Name, Database: m.in.Of.Database,
		Lineage: m.in.Job.Lineage, Fork: m.in.Job.Fork.LSN, Tip: m.in.Job.Tip.LSN, MadeAt: now().UTC(), Applied: m.in.Apply})
}
