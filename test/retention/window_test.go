package retention_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/topology"
)

// window is the shortest one, and slack what is added to it for the sake of clocks.
const window, slack = time.Minute, 6 * time.Second

// TestWindow lets a window of a minute pass over a group in use. What is in it restores afterwards, what is not is refused, and nothing is left in
// either bucket that nothing needs.
func TestWindow(t *testing.T) {
	l := newLive(t)
	for _, region := range regions {
		l.ok("retention", "set", "--group", liveGroup, "--region", region, "--window", "1m", "--yes")
	}
	l.record(3)
	l.churn()
	l.ok("snapshot", "take", "--group", liveGroup)
	l.record(4)
	l.churn()
	l.record(1)
	l.shipped()
	old := l.marks[4]
	l.ok("branch", "create", "old", "--group", liveGroup, "--of", "app", "--region", devenv.Secondary, "--at-lsn", old.end.String())
	l.ok("snapshot", "take", "--group", liveGroup)
	taken := time.Now()
	l.record(3)
	l.churn()
	l.shipped()
	l.killed()
	l.record(4)
	l.shipped()
	l.passes(taken)
	l.dry()
	l.each(func(_ context.Context, region string) error { l.settle(region); return nil })
	for _, region := range regions {
		l.checkReached(region)
	}
	l.restores(old)
	l.refusesOutside()
	l.shows()
}

// passes waits until the window no longer reaches back to a moment.
func (l *live) passes(moment time.Time) {
	l.Helper()
	devtest.Until(l.T, "the window to pass", func() bool { return time.Since(moment) > window+slack+time.Second })
}

// dry asks what would go, which changes nothing, and then by command for what goes that has lain for an hour: nothing.
func (l *live) dry() {
	l.Helper()
	for _, more := range [][]string{{"--dry-run"}, nil} {
		before := l.objects()
		var all []topology.Swept
		must(l.T, l.env.SmartDRJSON(l.Context(), &all, append([]string{"retention", "run", "--group", liveGroup}, more...)...))
		if len(all) != 2 || all[0].Region != devenv.Primary || all[1].Region != devenv.Secondary {
			l.Errorf("looked through %+v", all)
		}
		for _, swept := range all {
			if swept.DryRun != (more != nil) || swept.WindowMinutes != 1 || swept.Gone[topology.SweptManifests].Objects != 0 || swept.Kept[topology.SweptWAL].Objects == 0 {
				l.Errorf("%v: %+v", more, swept)
			}
		}
		for key := range before {
			if !l.objects()[key] && !strings.Contains(key, "/wal/") { // small segments are merged meanwhile
				l.Errorf("%s is gone, after retention run %v", key, more)
			}
		}
		if floored := l.status().Group.Workspaces[0].Floors != nil; more != nil && floored {
			l.Error("a dry run has raised floors")
		}
	}
}

// objects are the keys of both buckets.
func (l *live) objects() map[string]bool {
	l.Helper()
	all := map[string]bool{}
	for region, store := range l.stores {
		for info, err := range store.List(l.Context(), "groups/", "") {
			must(l.T, err)
			all[region+" "+info.Key] = true
		}
	}
	return all
}

// first is the first mark that can be restored from a region's bucket.
func (l *live) first(region string) int {
	l.Helper()
	w := l.status().Group.Workspaces[0]
	floor := w.Floor(region, w.Lineage)
	for i, m := range l.marks {
		if m.end >= floor {
			return i
		}
	}
	l.Fatalf("no mark lies above the floor %s of %s", floor, region)
	return 0
}

// restores brings up random points of the window from both buckets, and the branch that is older than it.
func (l *live) restores(old mark) {
	l.Helper()
	seed := uint64(time.Now().UnixNano())
	l.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	points, many := map[string][]mark{}, 1
	if os.Getenv("SMARTDR_TEST_FULL") == "1" {
		many = 3
	}
	for _, region := range regions {
		first := l.first(region)
		if first == 0 || first == len(l.marks)-1 {
			l.Fatalf("the window of %s begins with mark %d of %d: this shows nothing", region, first, len(l.marks))
		}
		points[region] = []mark{l.marks[first]}
		for range many {
			points[region] = append(points[region], l.marks[first+random.IntN(len(l.marks)-1-first)])
		}
	}
	l.each(func(ctx context.Context, region string) error {
		for i, m := range points[region] {
			to := []string{"--to-lsn", m.end.String()}
			if i == 1 {
				to = []string{"--to-time", m.at.UTC().Format(time.RFC3339Nano)}
			}
			name := fmt.Sprintf("%s-%d", region, i)
			args := append([]string{"restore", "--group", liveGroup, "--region", region, "--read-only", "--branch", name}, to...)
			if err := l.restored(ctx, name+" "+strings.Join(to, " "), m.n, args...); err != nil {
				return err
			}
		}
		return nil
	})
	must(l.T, l.restored(l.Context(), "branch old", old.n, "branch", "attach", "old", "--group", liveGroup, "--read-only"))
}

// refusesOutside asks for what was given up, in every way that there is.
func (l *live) refusesOutside() {
	l.Helper()
	for _, region := range regions {
		gone := l.marks[l.first(region)-1]
		at, lsn := gone.at.Add(-time.Second).UTC().Format(time.RFC3339Nano), gone.end.String()
		l.refused("Nearest: ", "branch", "create", "--group", liveGroup, "--of", "app", "--region", region, "--at-time", at)
		l.refused("Nearest: ", "branch", "create", "--group", liveGroup, "--of", "app", "--region", region, "--at-lsn", lsn)
		l.refused("Nearest: ", "restore", "--group", liveGroup, "--region", region, "--to-lsn", lsn)
	}
	gone := l.marks[l.first(devenv.Secondary)-1]
	at, lsn := gone.at.Add(-time.Second).UTC().Format(time.RFC3339Nano), gone.end.String()
	l.refused("Nearest: ", "failover", liveGroup, "--yes", "--force", "--to-time", at)
	l.refused("Nearest: ", "failover", liveGroup, "--yes", "--force", "--to-lsn", lsn)
	l.refused("Nearest: ", "restore", "--group", liveGroup, "--in-place", "--yes", "--to-lsn", lsn)
	if g := l.status().Group; g.Epoch != 1 || g.Operation != nil || g.Active != devenv.Primary {
		l.Errorf("what was refused has changed the group: %+v", g)
	}
}

// shows asks for what a person looks at.
func (l *live) shows() {
	l.Helper()
	for _, args := range [][]string{{"retention", "show", "--group", liveGroup}, {"snapshot", "list", "--group", liveGroup}, {"retention", "run", "--group", liveGroup, "--dry-run"}} {
		out := l.ok(args...)
		l.Logf("smartdr %s\n%s", strings.Join(args, " "), out)
		if !strings.Contains(out, "west") || !strings.Contains(out, "east") {
			l.Errorf("smartdr %s does not name the regions", strings.Join(args, " "))
		}
	}
	var r api.Retention
	must(l.T, json.Unmarshal([]byte(l.ok("retention", "show", "--group", liveGroup, "-o", "json")), &r))
	for _, region := range r.Regions {
		if region.WindowMinutes != 1 || region.Last == nil || region.Last.Error != "" {
			l.Errorf("shown of %s: %+v", region.Region, region)
		}
	}
}
