package api

import (
	"context"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

const opSearch = "search timeline"

// SearchRequest asks when a query returned rows for the last time. From and To are RFC 3339, or empty: see workflows.SearchInput.
type SearchRequest struct {
	Group     string `json:"group"`
	Workspace string `json:"workspace,omitempty"`
	Database  string `json:"database"`
	Query     string `json:"query"`
	Region    string `json:"region,omitempty"`
	From      string `json:"from,omitempty"`
	To        string `json:"to,omitempty"`
}

// Search brings up states of the past on a host of the region and runs the query there, until the last moment is found at which it returned
// rows. What serves is not touched.
func (s *Service) Search(ctx context.Context, req SearchRequest) (out workflows.SearchResult, err error) {
	in := workflows.SearchInput{Group: req.Group, Workspace: req.Workspace, Database: req.Database, Query: req.Query, Region: req.Region}
	if err := topology.CheckName("group", req.Group); err != nil {
		return out, err
	}
	if in.From, err = topology.ParseMomentOf(opSearch, "from", req.From); err != nil {
		return out, err
	}
	if in.To, err = topology.ParseMomentOf(opSearch, "to", req.To); err != nil {
		return out, err
	}
	if !in.From.IsZero() && !in.To.IsZero() && !in.From.Before(in.To) {
		return out, fault.Newf(fault.Invalid, opSearch, "from %s to %s is no range", req.From, req.To).WithHint("Give a range that begins before it ends.")
	}
	if err := readsOnly(req.Query); err != nil {
		return out, err
	}
	if in.Workspace, err = s.havingDatabase(ctx, req); err != nil {
		return out, err
	}
	err = s.perform(ctx, workflows.SearchID(req.Group), workflows.SearchType, "search the past of group "+req.Group, in, &out)
	return out, err
}

// readsOnly refuses at once what is no query, of which a restored server would say so half a minute later.
func readsOnly(query string) error {
	word, _, _ := strings.Cut(strings.TrimLeft(query, " \t\r\n(")+" ", " ")
	switch strings.ToLower(strings.TrimSpace(word)) {
	case "select", "with", "table", "values":
		return nil
	}
	if strings.HasPrefix(query, "--") || strings.HasPrefix(query, "/*") || strings.ContainsAny(word, "\n\t*'\"") {
		return nil // the server will know
	}
	return fault.Newf(fault.Invalid, opSearch, "%q begins no query", word).WithHint(`Give one SELECT, as "select from users where id = 7".`)
}

// havingDatabase is the workspace that was named, else the only one that has the database.
func (s *Service) havingDatabase(ctx context.Context, req SearchRequest) (string, error) {
	g, err := s.Group(ctx, req.Group)
	if err != nil {
		return "", err
	}
	if req.Workspace != "" || len(g.Workspaces) < 2 {
		return req.Workspace, ofGroup(g, opSearch, req.Region)
	}
	all, err := s.Databases(ctx, req.Group)
	if err != nil {
		return "", err
	}
	var having []string
	for _, d := range all {
		if d.Name == req.Database && d.Kind == topology.AttachedKind {
			having = append(having, d.Workspace)
		}
	}
	if len(having) != 1 {
		return "", fault.Newf(fault.Invalid, opSearch, "%d workspaces of group %s are known to have a database %q", len(having), g.Name, req.Database).
			WithHint("Name the workspace with --workspace: %s.", strings.Join(g.WorkspaceNames(), ", "))
	}
	return having[0], ofGroup(g, opSearch, req.Region)
}
