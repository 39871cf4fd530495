package activities

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/history"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/topology"
)

const (
	opSearch = "search timeline"
	// searchSteps is at how many points of a range the query runs before the range is narrowed down: each narrowing restores a snapshot again,
	// since a server replays forward only.
	searchSteps = 24
	// searchesFolder holds those that run on a host. It is no group's: nothing that looks after servers finds it.
	searchesFolder = ".searches"
)

// PlaceSearch chooses a host with room for the workspace, and refuses a range that cannot be restored.
func (t *Target) PlaceSearch(ctx context.Context, in SearchInput) (PlaceSearchResult, error) {
	p := beat(ctx)
	defer p.end()
	result, err := t.placeSearch(ctx, in)
	return result, judge(ctx, describe(err, "workspace %s", in.Workspace))
}

func (t *Target) placeSearch(ctx context.Context, in SearchInput) (r PlaceSearchResult, err error) {
	s, err := t.newSearch(ctx, in)
	if err != nil {
		return r, err
	}
	plan, err := s.planTo(ctx, topology.Target{Time: s.from})
	if err != nil {
		return r, err
	}
	plan.Need = Need{Size: s.group.Workspace(in.Workspace).Size, DiskBytes: plan.diskBytes()}
	r.Host, err = t.placeBranch(ctx, PlanAttachInput{Group: in.Group}, plan)
	return r, err
}

// Search finds the last moment at which a query returned rows: it brings up states of the past, one after the other, on this host, in a
// folder that is removed at the end.
func (t *Target) Search(ctx context.Context, in SearchInput) (SearchFound, error) {
	p := beat(ctx)
	defer p.end()
	found, err := t.search(ctx, in, p)
	return found, judge(ctx, describe(err, "workspace %s", in.Workspace))
}

func (t *Target) search(ctx context.Context, in SearchInput, p *pulse) (SearchFound, error) {
	s, err := t.newSearch(ctx, in)
	if err != nil {
		return SearchFound{}, err
	}
	s.pulse = p
	defer func() {
		if err := t.removeSearch(context.WithoutCancel(ctx), in.ID); err != nil {
			t.Log.WarnContext(ctx, "the folder of a search is removed later", "search", in.ID, "error", err)
		}
	}()
	return s.run(ctx)
}

// RemoveSearch removes what a search that was killed left on this host.
func (t *Target) RemoveSearch(ctx context.Context, in SearchInput) error {
	p := beat(ctx)
	defer p.end()
	return judge(ctx, t.removeSearch(ctx, in.ID))
}

func (t *Target) searchDir(id string) string { return filepath.Join(t.DataDir, searchesFolder, id) }

func (t *Target) removeSearch(ctx context.Context, id string) error {
	return removeCopy(ctx, t.searchDir(id))
}

// searching is one search.
type searching struct {
	t        *Target
	in       SearchInput
	group    topology.Group
	from, to time.Time // to is zero for the newest point
	newest   time.Time // until then the bucket has everything
	pulse    *pulse
	looked   int
	last     *WorkspacePlan // to the range's end
}

func (t *Target) newSearch(ctx context.Context, in SearchInput) (*searching, error) {
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return nil, err
	}
	s := &searching{t: t, in: in, group: loaded.Group, from: in.From, to: in.To}
	w := s.group.Workspace(in.Workspace)
	if w == nil {
		return nil, noWorkspace(s.group, in.Workspace)
	}
	store, err := t.store(in.Region)
	if err != nil {
		return nil, err
	}
	contents, err := history.Read(ctx, store, in.Region, s.group, in.Workspace)
	if err != nil {
		return nil, err
	}
	way := contents.Along(w.Lineage)
	for _, window := range way.Windows {
		s.newest = later(s.newest, window.ToTime)
	}
	if s.from.IsZero() {
		s.from = unbroken(way)
	}
	if err := history.Check(way, topology.Target{Time: s.from}); err != nil {
		return nil, err
	}
	return s, nil
}

// unbroken is where the newest stretch begins that has no gap: windows of lineages that go on from each other are one.
func unbroken(way topology.Timeline) (from time.Time) {
	next := topology.Window{}
	for _, w := range slices.Backward(way.Windows) {
		if next.Lineage != "" && next.From.LSN != w.To.LSN {
			break
		}
		from, next = w.FromTime, w
	}
	return from
}

// planTo plans a restore to a point.
func (s *searching) planTo(ctx context.Context, at topology.Target) (WorkspacePlan, error) {
	b, err := s.t.resolve(ctx, s.group, ResolveBranchInput{Group: s.in.Group, Workspace: s.in.Workspace, Region: s.in.Region, At: at})
	if err != nil {
		return WorkspacePlan{}, err
	}
	return s.t.planBranch(ctx, s.group, b)
}

// run looks at points all over the range, then between the two where rows went away, until there is one commit between them.
func (s *searching) run(ctx context.Context) (SearchFound, error) {
	last, err := s.planTo(ctx, topology.Target{Time: s.to})
	if err != nil {
		return SearchFound{}, err
	}
	s.last = &last
	start, err := s.planTo(ctx, topology.Target{Time: s.from})
	if err != nil {
		return SearchFound{}, err
	}
	points, err := s.spread(ctx, start)
	for err == nil {
		var i int
		i, err = s.look(ctx, start, points)
		switch {
		case err != nil:
		case i < 0:
			return SearchFound{Looked: s.looked, Notes: s.notes()}, nil
		case i == len(points)-1:
			return SearchFound{Found: true, Last: momentOf(points[i]), Looked: s.looked, Notes: s.notes()}, nil
		default:
			var between []restore.Committed
			if between, err = s.between(ctx, start, points[i], points[i+1]); err == nil && len(between) == 1 {
				next := momentOf(between[0])
				return SearchFound{Found: true, Last: momentOf(points[i]), Next: &next, Looked: s.looked, Notes: s.notes()}, nil
			}
			points = append([]restore.Committed{points[i]}, between...)
			if err == nil {
				start, err = s.planTo(ctx, topology.Target{LSN: points[0].At.LSN})
			}
		}
	}
	return SearchFound{}, err
}

func momentOf(c restore.Committed) SearchMoment {
	return SearchMoment{LSN: c.At.LSN.String(), Time: c.Time, XID: c.XID}
}

func (s *searching) notes() []string {
	return []string{fmt.Sprintf("The query ran at %d points. Rows that came and went again between two of them were not seen: a narrower range (--from, --to) looks closer.", s.looked)}
}

// spread returns points all over the range, by time.
func (s *searching) spread(ctx context.Context, start WorkspacePlan) ([]restore.Committed, error) {
	legs, err := s.legs(start)
	if err != nil {
		return nil, err
	}
	end := restore.Committed{At: s.last.Point.At, Time: s.last.Point.LastCommit}
	points := []restore.Committed{{At: start.Point.At, Time: start.Point.LastCommit}}
	until := s.to
	if until.IsZero() { // a commit may have been long ago, and none may lie behind the newest snapshot
		until = s.newest
	}
	for k := 1; k < searchSteps; k++ {
		at := s.from.Add(until.Sub(s.from) * time.Duration(k) / searchSteps)
		p, err := restore.FindPoint(ctx, legs, start.SegmentSize, restore.PointChoice{Time: at, Consistent: start.SnapshotEnd})
		if err != nil {
			return nil, err
		}
		s.pulse.say(amount{int64(k), searchSteps, s.in.Workspace})
		points = onwards(points, restore.Committed{At: p.End, Time: p.LastCommit.Time})
	}
	return onwards(points, end), nil
}

// onwards adds a point unless it is one that is there.
func onwards(points []restore.Committed, p restore.Committed) []restore.Committed {
	if p.At.LSN > points[len(points)-1].At.LSN {
		return append(points, p)
	}
	return points
}

// between returns commits between two points, the last one of which is what the second point has and the first has not.
func (s *searching) between(ctx context.Context, start WorkspacePlan, a, b restore.Committed) ([]restore.Committed, error) {
	legs, err := s.legs(start)
	if err != nil {
		return nil, err
	}
	list, err := restore.ListCommits(ctx, legs, start.SegmentSize, a.At.LSN, b.At.LSN, searchSteps)
	if err == nil && len(list) == 0 {
		err = fault.Newf(fault.Corrupt, opSearch, "the query returns rows at %s and none at %s, with no commit between them", a.At.LSN, b.At.LSN).
			WithHint("Its answer hangs on something else than the data: on the time, or on chance.")
	}
	return list, err
}

// legs is the way from where a plan begins to the end of the range.
func (s *searching) legs(start WorkspacePlan) ([]restore.Leg, error) {
	first, end := start.Legs[0], s.last.Legs[len(s.last.Legs)-1]
	way := s.group.Ancestry(s.in.Workspace, end.Lineage.ID)
	at := slices.IndexFunc(way, func(l topology.Lineage) bool { return l.ID == first.Lineage.ID })
	if at < 0 {
		return nil, fault.Newf(fault.Invalid, opSearch, "lineage %s does not go on from lineage %s: there is a gap between %s and %s",
			end.Lineage.ID, first.Lineage.ID, moment(s.from), moment(s.last.Point.LastCommit)).WithHint("`smartdr timeline` shows it; search on one side of it.")
	}
	var legs []Leg
	for i, l := range way[at:] {
		leg := Leg{Lineage: l, From: l.Start, To: s.last.Point.At.LSN}
		if i == 0 {
			leg.From = first.From
		}
		if next := at + i + 1; next < len(way) {
			leg.To = way[next].Parent.At.LSN
		}
		legs = append(legs, leg)
	}
	store, err := s.t.store(s.in.Region)
	if err != nil {
		return nil, err
	}
	return restoreLegs(store, s.in.Group, s.in.Workspace, legs, s.last.Point.At.Timeline), nil
}
