package topology

import (
	"fmt"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
)

// SystemDatabases are kept in every snapshot whatever was chosen: PostgreSQL reads them at every start, and new databases
// are copied from them.
var SystemDatabases = []string{"postgres", "template0", "template1"}

// Chosen returns the names of the databases of one workspace that are replicated, sorted; with all they are those that it has
// or will have. A chosen one need not exist.
func (r *Replication) Chosen(workspace string) (names []string, all bool) {
	if r == nil || len(r.Databases) == 0 {
		return nil, true
	}
	for _, entry := range r.Databases {
		if in, name := SplitDatabase(entry); in == "" || in == workspace {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), false
}

// SplitDatabase reads an entry of Replication.Databases. What stands before the first slash is always a workspace, whose names
// have none: a database whose own name has a slash is chosen with its workspace in front.
func SplitDatabase(entry string) (workspace, name string) {
	if workspace, name, found := strings.Cut(entry, "/"); found {
		return workspace, name
	}
	return "", entry
}

// CheckChoice returns a fault.Invalid error unless entries can be chosen in g. It does not know whether they exist.
func (g *Group) CheckChoice(entries []string) error {
	for _, entry := range entries {
		workspace, name := SplitDatabase(entry)
		if name == "" || strings.ContainsRune(name, 0) {
			return choice("%q is no name of a database", entry).WithHint(`Give names as in "app", or "main/app" for the one of workspace main.`)
		}
		if w := g.Workspace(workspace); strings.Contains(entry, "/") && (w == nil || w.State == WorkspaceTerminated) {
			return choice("%q: group %s has no workspace %q", entry, g.Name, workspace).
				WithHint("What stands before the first slash is a workspace. A database whose own name has a slash is chosen with its workspace in front, as in %q.", "main/"+entry)
		}
	}
	return nil
}

// Replicable returns nil if what is replicated of the group may be changed now: Changeable, and with the option that
// replication needs.
func (g *Group) Replicable(op string) error {
	if err := g.Changeable(op); err != nil {
		return err
	}
	if !g.SmartDR {
		return fault.Newf(fault.Invalid, op, `group %s was made without the option "SmartDR and database branching"`, g.Name).
			WithHint("Turn it on: smartdr group change --group %s --smartdr", g.Name)
	}
	return nil
}

// Found are the names of a workspace's databases, as its server has them.
type Found struct {
	Workspace string   `json:"workspace"`
	Databases []string `json:"databases"`
	Unknown   bool     `json:"unknown,omitempty"` // its server does not run: nobody can say
}

// Present is what was found, in the order of the workspaces.
type Present []Found

// checkKnown refuses to write down what every workspace has while one of them does not say.
func (p Present) checkKnown() error {
	for _, f := range p {
		if f.Unknown {
			return choice("workspace %s does not run, and which databases it has cannot be told", f.Workspace).
				WithHint("Resume it first: what is chosen must be named for each workspace then.")
		}
	}
	return nil
}

// Check returns a fault.Invalid error that names the entries that no workspace has, and what there is instead.
func (p Present) Check(entries []string) error {
	missing := slices.DeleteFunc(slices.Clone(entries), p.has)
	if len(missing) == 0 {
		return nil
	}
	return choice("there is no database %s: %s", quotedList(missing), p.describe()).WithHint("Choose among those that exist, or make it first.")
}

func (p Present) has(entry string) bool {
	workspace, name := SplitDatabase(entry)
	return slices.ContainsFunc(p, func(f Found) bool {
		return (workspace == "" || workspace == f.Workspace) && slices.Contains(f.Databases, name)
	})
}

func (p Present) describe() string {
	var all []string
	for _, f := range p {
		if f.Unknown {
			all = append(all, fmt.Sprintf("workspace %s does not run", f.Workspace))
			continue
		}
		all = append(all, fmt.Sprintf("workspace %s has %s", f.Workspace, strings.Join(f.Databases, ", ")))
	}
	if len(all) == 0 {
		return "no workspace has a server running"
	}
	return strings.Join(all, "; ")
}

// DatabaseChange is what to change about a choice.
type DatabaseChange struct {
	Add    []string `json:"add,omitempty"`
	Remove []string `json:"remove,omitempty"`
	All    bool     `json:"all,omitempty"` // present and future ones; excludes the other two
}

// Changed returns the databases that are chosen after a change; none means all. notes say what else follows from it.
// Errors are fault.Invalid.
func (r *Replication) Changed(c DatabaseChange, present Present) (chosen, notes []string, err error) {
	switch {
	case c.All && len(c.Add)+len(c.Remove) > 0:
		return nil, nil, choice("all databases, and some to add or remove, were asked for at once").WithHint("Ask for one of both.")
	case c.All:
		return nil, nil, nil
	case len(c.Add)+len(c.Remove) == 0:
		return nil, nil, choice("nothing to add and nothing to remove was named").WithHint("Name a database, or ask for all.")
	case len(r.Databases) == 0 && len(c.Add) > 0:
		return nil, nil, choice("all databases are replicated already, present and future ones: %s too", quotedList(c.Add)).
			WithHint("Remove those that should not be.")
	}
	if err := present.Check(c.Add); err != nil {
		return nil, nil, err
	}
	if chosen = slices.Clone(r.Databases); len(chosen) == 0 {
		if err := present.checkKnown(); err != nil {
			return nil, nil, err
		}
		chosen = present.entries()
		notes = append(notes, "from now on only the databases named are replicated; new ones are not until they are added")
	}
	for _, entry := range c.Remove {
		if chosen, err = without(chosen, entry, present); err != nil {
			return nil, nil, err
		}
	}
	if chosen = normalized(append(chosen, c.Add...)); len(chosen) == 0 {
		return nil, nil, choice("no database would be left").WithHint("Leave one at least, or ask for all.")
	}
	return chosen, notes, nil
}

// entries names each database that is there, save for those that come along anyway.
func (p Present) entries() (all []string) {
	for _, f := range p {
		for _, name := range f.Databases {
			switch {
			case slices.Contains(SystemDatabases, name):
			case len(p) == 1 && !strings.Contains(name, "/"):
				all = append(all, name)
			default:
				all = append(all, f.Workspace+"/"+name)
			}
		}
	}
	return all
}

// without removes an entry: "name" in every workspace, "workspace/name" in one, also where "name" was chosen for all.
func without(chosen []string, entry string, present Present) ([]string, error) {
	workspace, name := SplitDatabase(entry)
	var kept []string
	for _, c := range chosen {
		in, n := SplitDatabase(c)
		switch {
		case n != name || workspace != "" && in != "" && in != workspace:
			kept = append(kept, c)
		case workspace != "" && in == "":
			if err := present.checkKnown(); err != nil {
				return nil, err
			}
			kept = append(kept, present.elsewhere(workspace, name)...)
		}
	}
	if slices.Equal(kept, chosen) {
		return nil, choice("%q is not replicated: what is chosen is %s", entry, strings.Join(chosen, ", "))
	}
	return kept, nil
}

// elsewhere names a database of the other workspaces.
func (p Present) elsewhere(workspace, name string) (entries []string) {
	for _, f := range p {
		if f.Workspace != workspace && slices.Contains(f.Databases, name) {
			entries = append(entries, f.Workspace+"/"+name)
		}
	}
	return entries
}

// normalized sorts a choice and drops what another entry says already.
func normalized(chosen []string) []string {
	slices.Sort(chosen)
	chosen = slices.Compact(chosen)
	return slices.DeleteFunc(slices.Clone(chosen), func(c string) bool {
		in, name := SplitDatabase(c)
		return in != "" && !strings.Contains(name, "/") && slices.Contains(chosen, name)
	})
}

func quotedList(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(quoted, ", ")
}

func choice(format string, args ...any) *fault.Error {
	return &fault.Error{Kind: fault.Invalid, Op: "choose databases", Err: fmt.Errorf(format, args...)}
}
