package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// SearchID is the workflow id of a search in a group: one at a time.
func SearchID(group string) string { return id(group, "search") }

// Search finds the last moment at which a query returned rows, on a host of the region whose bucket is searched. Nothing of it touches what
// serves.
func Search(ctx workflow.Context, in SearchInput) (SearchResult, error) {
	result, err := search(ctx, in)
	return result, refuse(err)
}

func search(ctx workflow.Context, in SearchInput) (SearchResult, error) {
	if in.Group == "" || in.Database == "" || in.Query == "" {
		return SearchResult{}, invalid(`give all of them, as in {"group":"prod","database":"app","query":"select from users where id = 7"}`, "a search needs a group, a database and a query")
	}
	if !in.From.IsZero() && !in.To.IsZero() && !in.From.Before(in.To) {
		return SearchResult{}, invalid("give a range that begins before it ends", "from %s to %s is no range", in.From, in.To)
	}
	var group topology.Group
	err := workflow.ExecuteActivity(asked(ctx, TaskQueue, "read the group"), control.ReadGroup, activities.ReadGroupInput{Group: in.Group}).Get(ctx, &group)
	if err != nil {
		return SearchResult{}, err
	}
	ask, err := in.ask(ctx, group)
	if err != nil {
		return SearchResult{}, err
	}
	if err := label(ctx, groupKey.ValueSet(in.Group), regionKey.ValueSet(ask.Region)); err != nil {
		return SearchResult{}, err
	}
	var placed activities.PlaceSearchResult
	err = workflow.ExecuteActivity(locating(ctx, RegionQueue(ask.Region), "find a host for it"), target.PlaceSearch, ask).Get(ctx, &placed)
	if err != nil {
		return SearchResult{}, refuseAt(ask.Region, err)
	}
	queue := siteQueue(ask.Region, placed.Host)
	var found activities.SearchFound
	err = workflow.ExecuteActivity(attachingOn(ctx, queue, "look at states of the past"), target.Search, ask).Get(ctx, &found)
	if err != nil {
		forget, cancel := workflow.NewDisconnectedContext(ctx)
		defer cancel()
		if gone := workflow.ExecuteActivity(clearing(forget, queue, "remove what it left"), target.RemoveSearch, ask).Get(forget, nil); gone != nil {
			workflow.GetLogger(ctx).Warn("the folder of a search is still there", "host", placed.Host, "search", ask.ID, "error", gone)
		}
		return SearchResult{}, refuseOn(ask.Region, placed.Host, err)
	}
	return resultOf(found), nil
}

// ask fills in what may be left out.
func (in SearchInput) ask(ctx workflow.Context, g topology.Group) (activities.SearchInput, error) {
	if in.Workspace == "" && len(g.Workspaces) == 1 {
		in.Workspace = g.Workspaces[0].Name
	}
	if in.Region == "" {
		in.Region = g.Active
	}
	if g.Workspace(in.Workspace) == nil {
		return activities.SearchInput{}, invalid("name the workspace that has the database", "group %s has no workspace %q", g.Name, in.Workspace)
	}
	if in.Region != g.Primary && in.Region != g.Secondary {
		return activities.SearchInput{}, invalid("name one of its regions", "group %s has no region %q", g.Name, in.Region)
	}
	return activities.SearchInput{
		Group: in.Group, Workspace: in.Workspace, Region: in.Region, Database: in.Database, Query: in.Query, From: in.From, To: in.To,
		ID: workflow.GetInfo(ctx).WorkflowExecution.RunID[:8],
	}, nil
}

func resultOf(f activities.SearchFound) SearchResult {
	r := SearchResult{Found: f.Found, LastLSN: f.Last.LSN, LastTime: f.Last.Time, Looked: f.Looked, Notes: f.Notes}
	if f.Next != nil {
		r.NextLSN, r.NextTime, r.NextXID = f.Next.LSN, f.Next.Time, f.Next.XID
	}
	return r
}
