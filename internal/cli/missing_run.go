package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/topology"
)

// missingRows compares, merges if asked to, and shows what came of it.
func (a *app) missingRows(cmd *cobra.Command, in missingFlags) (err error) {
	if in.Apply {
		if err := needGroup(cmd, in.Group); err != nil {
			return err
		}
	}
	ctx, cancel := a.waiting(cmd.Context())
	defer cancel()
	text, err := in.readDecisions()
	if err != nil {
		return err
	}
	if in.Group, err = a.anyGroup(ctx, cmd, in.Group); err != nil {
		return err
	}
	s, err := a.service()
	if err != nil {
		return err
	}
	if in.undo != "" {
		return a.missingUndo(ctx, s, in)
	}
	return a.compares(ctx, s, in, text)
}

// compares makes a comparison, or a merge after it was agreed to. text is the file of decisions, if one was named.
func (a *app) compares(ctx context.Context, s *api.Service, in missingFlags, text []byte) error {
	var decided *api.Decided
	if in.decisions != "" {
		var err error
		if decided, err = a.decide(ctx, s, &in, text); err != nil {
			return err
		}
	}
	if in.Apply && !in.yes {
		if err := a.agrees(ctx, s, in); err != nil {
			return err
		}
	}
	m, err := s.MissingRows(ctx, in.MissingRequest, a.sayMissing())
	if err != nil {
		return err
	}
	m.Decided = decided
	return a.found(ctx, s, in, m)
}

// found shows what a comparison or a merge found, and writes the plan that was asked for.
func (a *app) found(ctx context.Context, s *api.Service, in missingFlags, m api.MissingRows) error {
	if err := knownTables(in.filter, m); err != nil {
		return err
	}
	if in.plan != "" {
		if err := a.writePlan(ctx, s, in, m); err != nil {
			return err
		}
	}
	if err := a.showMissing(ctx, s, in, m); err != nil {
		return err
	}
	return missingCode(m)
}

// missingCode is the exit code of what was found.
func missingCode(m api.MissingRows) error {
	switch {
	case m.Failed() > 0 || m.Merged && m.Conflicts() > 0:
		return exited(exitPartly)
	case !m.Merged && m.Missing() > 0:
		return exited(exitMissing)
	}
	return nil
}

// sayMissing returns what tells what is being done: each step as it begins, and how far it is now and then.
func (a *app) sayMissing() func(api.MissingProgress) {
	var doing string
	var last time.Time
	return func(p api.MissingProgress) {
		now := a.now()
		if p.Doing == doing && now.Sub(last) < sayEvery {
			return
		}
		if p.Doing == doing && p.Phase == "" {
			return
		}
		a.advise("%s", render.MissingProgress(p, p.Doing != doing))
		doing, last = p.Doing, now
	}
}

// readDecisions reads the file of decisions, if one was named.
func (in *missingFlags) readDecisions() ([]byte, error) {
	if in.decisions == "" {
		return nil, nil
	}
	text, err := os.ReadFile(in.decisions)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Newf(fault.Invalid, "read decisions", "there is no file %s", in.decisions).WithHint("--plan %s writes it.", in.decisions)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "read decisions", err)
	}
	return text, nil
}

// decide compares, and checks a file of decisions by what conflicts now. Nothing is changed by it.
func (a *app) decide(ctx context.Context, s *api.Service, in *missingFlags, text []byte) (*api.Decided, error) {
	plan, err := api.ParseMissingPlan(in.decisions, in.Group, text)
	if err != nil {
		return nil, err
	}
	asked := in.MissingRequest
	asked.Apply, asked.OnConflict, asked.WholeTransactions = false, "", false
	m, err := s.MissingRows(ctx, asked, a.sayMissing())
	if err != nil {
		return nil, err
	}
	all, err := changesOf(ctx, s, m, api.MissingFilter{})
	if err != nil {
		return nil, err
	}
	decisions, said, err := plan.Check(all)
	if err != nil {
		return nil, err
	}
	in.Decisions = decisions
	a.advise("%s", render.Decided(said, in.decisions, in.OnConflict))
	return &said, nil
}

// agrees shows what a merge would do, and asks for the group's name.
func (a *app) agrees(ctx context.Context, s *api.Service, in missingFlags) error {
	in.Apply = false
	m, err := s.MissingRows(ctx, in.MissingRequest, a.sayMissing())
	if err != nil || m.Missing() == 0 && m.Failed() == 0 && !slices.ContainsFunc(m.Databases, movesSequences) {
		return err // nothing of what is there would change
	}
	v, err := a.missingView(ctx, s, in, m)
	if err != nil {
		return err
	}
	return a.consents("merge", render.MissingConsent(v, render.Style{}), "group", in.Group)
}

func movesSequences(d api.MissingDatabase) bool { return len(d.Summary.Sequences) > 0 }

// writePlan writes a file that a person edits. It holds contents of rows, so that nobody else can read it.
func (a *app) writePlan(ctx context.Context, s *api.Service, in missingFlags, m api.MissingRows) error {
	all, err := changesOf(ctx, s, m, in.filter)
	if err != nil {
		return err
	}
	n := 0
	err = writeFile(in.plan, in.force, func(f *os.File) (err error) {
		n, err = api.WritePlan(f, in.Group, in.args(), all)
		return err
	})
	if err != nil {
		return fault.New(fault.Invalid, "write "+in.plan, err)
	}
	a.advise("%s has %d conflicts to decide about.", in.plan, n)
	return nil
}

// args are the words that say in a command what is compared, after the group's name.
func (in missingFlags) args() (text string) {
	if in.Database != "" {
		text = " " + render.ShellWord(in.Database)
	}
	if in.Workspace != "" {
		text += " --workspace " + render.ShellWord(in.Workspace)
	}
	if in.WholeTransactions {
		text += " --whole-transactions"
	}
	if in.Full {
		text += " --full"
	}
	return text
}

// changesOf are the changes of all databases that were compared.
func changesOf(ctx context.Context, s *api.Service, m api.MissingRows, f api.MissingFilter) (all []api.MissingChanges, err error) {
	for _, d := range m.Databases {
		c, err := s.MissingChanges(ctx, d, f)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// knownTables refuses to say of a table that nothing of it is missing when nobody knows it.
func knownTables(f api.MissingFilter, m api.MissingRows) error {
	var there []string
	for _, d := range m.Databases {
		for _, t := range d.Summary.Tables {
			there = append(there, t.Schema+"."+t.Table)
		}
	}
	for _, name := range f.Tables {
		if !slices.ContainsFunc(there, func(t string) bool { return t == name || strings.HasSuffix(t, "."+name) }) {
			return noSuchTable(name, there)
		}
	}
	return nil
}

func noSuchTable(name string, there []string) error {
	e := fault.Newf(fault.Missing, "find missing rows", "nothing that was changed in the lost region is of a table %q", name)
	if len(there) == 0 {
		return e
	}
	return e.WithHint("Tables that were changed: %s.", listed(there))
}

// missingUndo writes the script that leads back from a merge.
func (a *app) missingUndo(ctx context.Context, s *api.Service, in missingFlags) error {
	all, err := s.MissingUndo(ctx, in.MissingRequest)
	if err != nil {
		return err
	}
	xids := make([]string, len(all))
	for i, u := range all {
		xids[i] = fmt.Sprint(u.XID)
	}
	at := 0
	if in.undo != undoLast {
		at = slices.Index(xids, in.undo)
	}
	if at < 0 {
		return fault.Newf(fault.Missing, "find undo record", "no merge by transaction %q is on record", in.undo).
			WithHint("There are those of %s, newest first.", listed(xids))
	}
	if err := missing.UndoSQL(a.Out, all[at]); err != nil {
		return err
	}
	a.adviseUndo(all[at], xids[:at], all[at+1:])
	return nil
}

// adviseUndo says how the script is run, and which other merges there are.
func (a *app) adviseUndo(u missing.Undo, newer []string, older []missing.Undo) {
	a.advise("Nothing was run. This leads back from the merge of %s by transaction %d; run it as psql -d %s -v ON_ERROR_STOP=1 -f FILE.", render.Moment(u.At), u.XID, u.Database)
	for _, t := range u.Tables {
		if len(t.Key) == 0 {
			a.advise("Rows of %s.%s have no key: a later comparison lists those that this removes as conflicts (no-key), and takes them again by --on-conflict theirs or a decision.", t.Schema, t.Name)
		}
	}
	if len(newer) > 0 {
		a.advise("Merges after it go back first, newest first: --undo=%s", strings.Join(newer, ", --undo="))
	}
	for _, o := range older {
		a.advise("An earlier one: %s by transaction %d, --undo=%d", render.Moment(o.At), o.XID, o.XID)
	}
}

// completeSystemManaged offers what failovers left behind.
func (a *app) completeSystemManaged(group *string) completion {
	return a.completeOf(group, func(ctx context.Context, s *api.Service, name string) (names []string, err error) {
		all, err := s.Databases(ctx, name)
		for _, d := range all {
			if d.Kind == topology.SystemManagedKind {
				names = append(names, d.Name)
			}
		}
		return names, err
	})
}

func listed(names []string) string {
	if n := len(names) - 1; n > 0 {
		return strings.Join(names[:n], ", ") + " and " + names[n]
	}
	return strings.Join(names, "")
}
