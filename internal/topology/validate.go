package topology

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/smartdr/smartdr/internal/fault"
)

// namePattern is what names of groups, workspaces and regions look like; they are parts of keys and of host names.
var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// CheckName returns a fault.Invalid error unless name can name a group, a workspace or a region; what says which.
func CheckName(what, name string) error {
	if namePattern.MatchString(name) {
		return nil
	}
	return fault.Newf(fault.Invalid, "check names", "%q is no name for a %s", name, what).
		WithHint("Use 1 to 63 lower-case letters, digits and hyphens, beginning with a letter or a digit.")
}

// Validate returns a fault.Invalid error that says what is wrong with g, or nil.
func (g *Group) Validate() error {
	if err := CheckName("workspace group", g.Name); err != nil {
		return err
	}
	if err := g.checkRegions(); err != nil {
		return err
	}
	if g.Epoch < 1 {
		return invalid("group %s has epoch %d", g.Name, g.Epoch)
	}
	if g.State != GroupActive && g.State != GroupTerminated {
		return invalid("group %s is in the unknown state %q", g.Name, g.State)
	}
	seen := map[string]bool{}
	for i := range g.Workspaces {
		w := &g.Workspaces[i]
		if seen[w.Name] {
			return invalid("group %s has two workspaces named %s", g.Name, w.Name).WithHint("Give each workspace a name of its own.")
		}
		seen[w.Name] = true
		if err := w.validate(g); err != nil {
			return err
		}
	}
	return g.checkBranches()
}

func (g *Group) checkRegions() error {
	if err := CheckName("region", g.Primary); err != nil {
		return err
	}
	if g.Secondary != "" {
		if err := CheckName("region", g.Secondary); err != nil {
			return err
		}
	}
	if g.Secondary == g.Primary {
		return invalid("region %s is named as primary and as secondary", g.Primary).
			WithHint("Name another region as the secondary: the two must not fail together.")
	}
	for _, named := range []struct{ what, region string }{{"active", g.Active}, {"authority", g.Authority}} {
		if named.region == "" || (named.region != g.Primary && named.region != g.Secondary) {
			return invalid("group %s names %q as its %s region, which is neither its primary nor its secondary", g.Name, named.region, named.what)
		}
	}
	return nil
}

func (w *Workspace) validate(g *Group) error {
	if err := CheckName("workspace", w.Name); err != nil {
		return err
	}
	if !slices.Contains(workspaceStates, w.State) {
		return invalid("workspace %s is in the unknown state %q", w.Name, w.State)
	}
	for region, site := range w.Sites {
		if err := w.validateSite(g, region, site); err != nil {
			return err
		}
	}
	if err := CheckSettings(w.Settings); err != nil {
		return invalid("workspace %s: %w", w.Name, err).WithHint("%s", fault.HintOf(err))
	}
	if w.Lineage != "" && w.CurrentLineage() == nil {
		return invalid("workspace %s names %s as its lineage and does not list it", w.Name, w.Lineage)
	}
	for i := range w.Lineages {
		if _, err := ParseLineageID(w.Lineages[i].ID); err != nil {
			return err
		}
	}
	return nil
}

// workspaceStates are all there are.
var workspaceStates = []WorkspaceState{
	WorkspaceActive, WorkspacePending, WorkspaceSuspending, WorkspaceSuspended, WorkspaceTerminating, WorkspaceTerminated,
}

func (w *Workspace) validateSite(g *Group, region string, site Site) error {
	switch {
	case region != g.Primary && region != g.Secondary:
		return invalid("workspace %s has a server in region %q, which is none of group %s", w.Name, region, g.Name)
	case site.Kind != "" && site.Kind != Managed && site.Kind != Adopted:
		return invalid("workspace %s has a server of the unknown kind %q", w.Name, site.Kind)
	case site.Host != "":
		return CheckName("host", site.Host)
	}
	return nil
}

func invalid(format string, args ...any) *fault.Error {
	return &fault.Error{Kind: fault.Invalid, Op: "check group", Err: fmt.Errorf(format, args...)}
}
