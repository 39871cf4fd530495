package api

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
	"github.com/smartdr/smartdr/workflows"
)

const opMissing = "find missing rows"

// MissingRequest asks for what a failover left behind and the databases that serve lack, and to merge it.
type MissingRequest struct {
	Group     string `json:"group"`
	Workspace string `json:"workspace,omitempty"` // may be left out where the database's name is enough
	// Database is one that serves, and means its newest continuation, or a system-managed one. Empty: all of the last failover.
	Database string `json:"database,omitempty"`

	Apply             bool           `json:"apply,omitempty"`
	OnConflict        missing.Policy `json:"onConflict,omitempty"` // default: missing.Keep
	Decisions         Decisions      `json:"decisions,omitzero"`   // as MissingPlan.Check left them
	WholeTransactions bool           `json:"wholeTransactions,omitempty"`
	Full              bool           `json:"full,omitempty"` // compare whole tables, and do not trust WAL
}

// MissingRows is what was found, or merged.
type MissingRows struct {
	Group     string            `json:"group"`
	Merged    bool              `json:"merged"` // what could be merged is; else it was only compared
	Databases []MissingDatabase `json:"databases"`
	Notes     []string          `json:"notes,omitempty"`
	Decided   *Decided          `json:"decided,omitempty"` // where a file of decisions was used
}

// MissingDatabase is what was found of one system-managed database.
type MissingDatabase struct {
	workflows.MissingDatabase
	Workspace string    `json:"workspace"`
	Database  string    `json:"database"`      // that serves
	Lost      string    `json:"lost"`          // region that was lost
	Serves    string    `json:"serves"`        // region that serves
	Fork      wal.LSN   `json:"fork"`          // where the two lines part
	Tip       wal.LSN   `json:"tip"`           // up to where the old line is known here
	Last      time.Time `json:"last,omitzero"` // last commit of the old line that is known
	MadeAt    time.Time `json:"madeAt,omitzero"`
	// Complete says that nothing more will arrive of the old line, and that all of it was compared.
	Complete bool   `json:"complete"`
	Arrives  string `json:"arrives,omitempty"` // why it has not all arrived, if that is known
	// Compared is false where there was nothing to compare: nothing has arrived behind the fork.
	Compared bool            `json:"compared"`
	Tables   []missing.Table `json:"tables,omitempty"` // whose rows changed, with their columns
}

// Missing is how many changes of the old line the database that serves lacks still, conflicts included.
func (d MissingDatabase) Missing() (n int64) {
	for class, count := range d.Summary.Classes {
		if !class.There() && class != missing.Kept {
			n += count
		}
	}
	return n
}

// Missing is that of all databases: after a merge, what is left.
func (m MissingRows) Missing() (n int64) {
	for _, d := range m.Databases {
		if n += d.Missing(); m.Merged {
			n -= d.Summary.Applied
		}
	}
	return n
}

// Conflicts is how many conflicts are left in all.
func (m MissingRows) Conflicts() (n int64) {
	for _, d := range m.Databases {
		n += d.Summary.Conflicts
	}
	return n
}

// Failed is how many databases could not be compared, or merged.
func (m MissingRows) Failed() (n int) {
	for _, d := range m.Databases {
		if d.Error != "" {
			n++
		}
	}
	return n
}

// MissingRows compares, or merges if asked to, and waits for it. say is told what is being done. A comparison of the same that
// is under way is joined; fault.Conflict while another one is. Where nothing has arrived of the old line Temporal is not asked.
func (s *Service) MissingRows(ctx context.Context, req MissingRequest, say func(MissingProgress)) (MissingRows, error) {
	g, waits, err := s.leftBehind(ctx, req)
	if err != nil {
		return MissingRows{}, err
	}
	if !req.Full && !slices.ContainsFunc(waits, arrived) {
		return nothingArrived(g, waits, req), nil
	}
	in, err := s.missingInput(ctx, g, req)
	if err != nil {
		return MissingRows{}, err
	}
	var result workflows.MissingRowsResult
	if err := s.compare(ctx, in, say, &result); err != nil {
		return MissingRows{}, err
	}
	return s.missingFound(ctx, g, waits, req, result)
}

// arrived reports whether there is anything to compare. What was merged once is compared again: somebody may have taken the merge back.
func arrived(w topology.Waits) bool {
	return w.At.LSN > w.Fork.LSN && (w.Merged != nil || !w.NothingMissing())
}

// leftBehind returns the system-managed databases that a request means, with how far each is.
func (s *Service) leftBehind(ctx context.Context, req MissingRequest) (topology.Group, []topology.Waits, error) {
	if err := req.check(); err != nil {
		return topology.Group{}, nil, err
	}
	st, err := s.Status(ctx, req.Group)
	if err != nil {
		return topology.Group{}, nil, err
	}
	waits, err := req.choose(st.Group, st.Waiting())
	return st.Group, waits, err
}

func (req MissingRequest) check() error {
	if err := topology.CheckName("group", req.Group); err != nil {
		return err
	}
	if p := req.OnConflict; p != "" && p != missing.Keep && p != missing.Theirs {
		return fault.Newf(fault.Invalid, opMissing, "%q is no way to settle conflicts", p).WithHint("Choose keep or theirs.")
	}
	return nil
}

// choose returns what the request means of all that waits, oldest first.
func (req MissingRequest) choose(g topology.Group, all []topology.Waits) ([]topology.Waits, error) {
	if req.Workspace != "" {
		if g.Workspace(req.Workspace) == nil {
			return nil, fault.Newf(fault.Missing, opMissing, "group %s has no workspace %q", g.Name, req.Workspace).
				WithHint("It has: %s.", strings.Join(livingNames(g), ", "))
		}
		all = slices.DeleteFunc(slices.Clone(all), func(w topology.Waits) bool { return w.Workspace != req.Workspace })
	}
	if req.Database == "" {
		return ofLastFailover(all), nil
	}
	return req.named(g, all)
}

// ofLastFailover returns what the newest failover left behind.
func ofLastFailover(all []topology.Waits) []topology.Waits {
	if len(all) == 0 {
		return nil
	}
	newest := slices.MaxFunc(all, func(a, b topology.Waits) int { return a.Since.Compare(b.Since) })
	return slices.DeleteFunc(slices.Clone(all), func(w topology.Waits) bool { return w.Operation != newest.Operation })
}

// named returns the one system-managed database that a name means: its own, or the newest continuation of the database of that name.
func (req MissingRequest) named(g topology.Group, all []topology.Waits) ([]topology.Waits, error) {
	var of []topology.Waits
	workspace, plain := topology.SplitDatabase(req.Database)
	for _, w := range all {
		if workspace != "" && w.Workspace != workspace {
			continue
		}
		switch plain {
		case w.Name:
			of = append(of, w)
		case w.Database:
			of = append(slices.DeleteFunc(of, func(older topology.Waits) bool { return older.Workspace == w.Workspace && older.Since.Before(w.Since) }), w)
		}
	}
	switch len(of) {
	case 1:
		return of, nil
	case 0:
		return nil, req.unknown(g, all)
	}
	return nil, fault.Newf(fault.Invalid, opMissing, "%d workspaces have a system-managed database of %s", len(of), req.Database).
		WithHint("Name one as %s/%s.", of[0].Workspace, req.Database)
}

func (req MissingRequest) unknown(g topology.Group, all []topology.Waits) error {
	e := fault.Newf(fault.Missing, opMissing, "group %s has no system-managed database of %q", g.Name, req.Database)
	if len(all) == 0 {
		return e.WithHint("It has none: no failover has left anything behind.")
	}
	var names []string
	for _, w := range all {
		names = append(names, w.Name)
	}
	return e.WithHint("It has %s.", strings.Join(names, ", "))
}

// nothingArrived is what is said where the old line has nothing behind the fork, as far as it is known.
func nothingArrived(g topology.Group, waits []topology.Waits, req MissingRequest) MissingRows {
	m := MissingRows{Group: g.Name, Merged: req.Apply, Databases: []MissingDatabase{}}
	for _, w := range waits {
		m.Databases = append(m.Databases, standingOf(g, w))
	}
	return m
}

// standingOf is what the buckets say of a system-managed database.
func standingOf(g topology.Group, w topology.Waits) MissingDatabase {
	d := MissingDatabase{
		Workspace: w.Workspace, Database: w.Database, Lost: w.Region, Serves: g.Active, Fork: w.Fork.LSN, Tip: w.At.LSN, Last: w.Time,
		Complete: w.Complete, Arrives: w.Reason,
	}
	d.Name, d.Summary.Database = w.Name, w.Database
	return d
}

// missingInput is what the workflow is asked for.
func (s *Service) missingInput(ctx context.Context, g topology.Group, req MissingRequest) (workflows.MissingRowsInput, error) {
	in := workflows.MissingRowsInput{
		Group: g.Name, Of: req.Database, Workspace: req.Workspace, Apply: req.Apply, OnConflict: req.OnConflict, WholeTransactions: req.WholeTransactions, Full: req.Full,
	}
	if req.Decisions.Len() == 0 {
		return in, nil
	}
	key, err := s.keepDecisions(ctx, g, req.Decisions)
	in.Decisions = key
	return in, err
}

// missingFound joins what the workflow found with what the buckets say.
func (s *Service) missingFound(ctx context.Context, g topology.Group, waits []topology.Waits, req MissingRequest, r workflows.MissingRowsResult) (MissingRows, error) {
	m := MissingRows{Group: g.Name, Merged: req.Apply, Databases: []MissingDatabase{}, Notes: r.Notes}
	for _, found := range r.Databases {
		d := MissingDatabase{MissingDatabase: found}
		if i := slices.IndexFunc(waits, func(w topology.Waits) bool { return w.Name == found.Name }); i >= 0 {
			d = standingOf(g, waits[i])
			d.MissingDatabase = found
		}
		if err := s.addHeader(ctx, &d); err != nil {
			return m, err
		}
		m.Databases = append(m.Databases, d)
	}
	return m, nil
}

// addHeader adds what a report says of itself.
func (s *Service) addHeader(ctx context.Context, d *MissingDatabase) error {
	if d.Report == "" {
		return nil
	}
	h, _, err := s.MissingReport(ctx, *d)
	if err != nil {
		return err
	}
	d.Compared, d.Workspace, d.Fork, d.MadeAt, d.Tables = true, h.Workspace, h.Fork, h.MadeAt, h.Tables
	if h.Tip < d.Tip {
		d.Complete, d.Arrives = false, "more has arrived since then: compare again"
	}
	d.Tip = h.Tip
	return nil
}
