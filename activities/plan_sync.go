package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// inSync refuses a failover to a region that would bring the group back to something older than what serves. With force it may,
// as long as the region's own bucket decides over the group: what was claimed anywhere else could be claimed twice.
func inSync(loaded catalog.Loaded, plan FailoverPlan, force bool) error {
	g := loaded.Group
	_, silent := loaded.Silent[g.Authority]
	switch why := behind(plan); {
	case g.Authority != plan.To && silent:
		return notInSync(g, plan, "the bucket of %q decides over the group and does not answer", g.Authority).
			WithHint("wait until it answers; if it is gone for good, let this bucket decide: smartdr recover --region %s --force", plan.To)
	case g.Authority != plan.To:
		return notInSync(g, plan, "the bucket of %q still decides over the group, since %q has not caught up after the last failover", g.Authority, plan.To).
			WithHint("wait until it is protected: smartdr status --group %s", g.Name)
	case why != "" && !force:
		return notInSync(g, plan, "%s", why).
			WithHint("wait until it is protected: smartdr status --group %s; add force (--force) to go to what is there, if what serves now is lost for good", g.Name)
	}
	return nil
}

func notInSync(g topology.Group, plan FailoverPlan, format string, args ...any) *fault.Error {
	return fault.Newf(fault.Invalid, "plan failover", "region %q is not in sync with %q: %s", plan.To, g.Active, fmt.Sprintf(format, args...))
}

// behind says which workspaces would come back older than what serves, and what would be lost of each.
func behind(plan FailoverPlan) string {
	var parts []string
	for _, w := range plan.Workspaces {
		if w.Behind == "" {
			continue
		}
		text := fmt.Sprintf("workspace %s: %s; it would come back at %s of lineage %s", w.Workspace, w.Behind, w.Point.RecordEnd, w.Point.Lineage)
		if !w.Point.LastCommit.IsZero() {
			text += ", with the last commit of " + moment(w.Point.LastCommit)
		}
		parts = append(parts, text+", and would lose "+lossText(w.Loss))
	}
	return strings.Join(parts, "; ")
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// alive says why the serving region looks alive, or "".
func (t *Target) alive(ctx context.Context, loaded catalog.Loaded) string {
	g := loaded.Group
	if !slices.Contains(loaded.From, g.Active) {
		return ""
	}
	for _, w := range g.Workspaces {
		p, err := t.Catalog.WALProgress(ctx, g.Name, w.Name)
		age := time.Since(p.MeasuredAt)
		current := err == nil && p.Epoch == g.Epoch && p.Lineage == w.Lineage // else it tells of the server that served before
		if current && age < topology.AliveWithin && strings.TrimSpace(p.Error) == "" {
			return fmt.Sprintf("its bucket answers, and WAL of workspace %s was shipped from there %.0f s ago", w.Name, max(0, age.Seconds()))
		}
		if served := time.Since(w.BeganServing()); !current && served < topology.SettlesWithin {
			return fmt.Sprintf("its bucket answers, and workspace %s began to serve there %.0f s ago", w.Name, max(0, served.Seconds()))
		}
	}
	return ""
}
