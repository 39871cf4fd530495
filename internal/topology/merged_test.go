package topology

import (
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

// mergedGroup has been moved twice: its first lineage was left at 100, the second one, which a hole ended and another one of the same epoch goes on
// from, at 300 of that.
func mergedGroup(now string) *Group {
	at := func(l wal.LSN) wal.Position { return wal.Position{Timeline: 1, LSN: l} }
	g := &Group{Name: "prod", Epoch: 3, Workspaces: []Workspace{{Name: "main", Lineage: now, Lineages: []Lineage{
		{ID: "0001-00000001", Epoch: 1}, {ID: "0002-00000002", Epoch: 2, Parent: &Fork{"0001-00000001", at(100)}}, {ID: "0002-00000003", Epoch: 2},
		{ID: "0003-00000004", Epoch: 3, Parent: &Fork{"0002-00000003", at(300)}}}}}}
	g.SystemManaged = []SystemManaged{{Name: "app_1", Workspace: "main", Database: "app", Lineage: "0001-00000001", Fork: at(100)}}
	return g
}

func TestWhatServesHas(t *testing.T) {
	for _, c := range []struct {
		now, lineage string
		at           wal.LSN
		has          bool
	}{
		{"0002-00000002", "0002-00000002", 1000, true}, // it is written now
		{"0002-00000003", "0002-00000002", 1000, true}, // the same server went on behind a hole
		{"0003-00000004", "0002-00000003", 300, true},
		{"0003-00000004", "0002-00000003", 301, false}, // the failover lost it
		{"0003-00000004", "0002-00000002", 1000, true},
		{"0002-00000002", "0003-00000004", 1, false},
		{"0002-00000002", "0001-00000001", 100, true},
		{"0002-00000002", "0001-00000001", 101, false},
	} {
		if got := mergedGroup(c.now).Has("main", c.lineage, c.at); got != c.has {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// After a merge of all that there was, nothing waits; what arrives later does; and a failover that lost the merge makes all of it wait again.
func TestWaitingAfterAMerge(t *testing.T) {
	tail := Tail{Workspace: "main", Lineage: "0001-00000001", Fork: wal.Position{Timeline: 1, LSN: 100}, At: wal.Position{Timeline: 1, LSN: 180}, Commits: 7, Last: time.Unix(9, 0), Complete: true}
	merge := Merged{At: tail.At, Commits: 7, Time: time.Unix(10, 0), Lineage: "0002-00000003", LSN: 250}
	for name, c := range map[string]struct {
		now     string
		change  func(*Merged, *Tail)
		commits int64
		bytes   int64
		nothing bool
		says    string
	}{
		"all of it":       {now: "0002-00000003", nothing: true, says: "nothing missing: merged up to 0/B4"},
		"a failover has":  {now: "0003-00000004", nothing: true, says: "nothing missing"},
		"a failover lost": {now: "0003-00000004", change: func(m *Merged, _ *Tail) { m.LSN = 301 }, commits: 7, bytes: 80, says: "complete: all that"},
		"conflicts":       {now: "0002-00000003", change: func(m *Merged, _ *Tail) { m.Conflicts = 2 }, says: "with 2 conflicts left; nothing more will arrive"},
		"more arrived":    {now: "0002-00000003", change: func(_ *Merged, t *Tail) { t.At.LSN, t.Commits = 200, 9 }, commits: 2, bytes: 20, says: "more has arrived since"},
		"no commits":      {now: "0002-00000003", change: func(_ *Merged, t *Tail) { t.At.LSN, t.Complete = 200, false }, bytes: 20, says: "goes on receiving"},
		"more may":        {now: "0002-00000003", change: func(_ *Merged, t *Tail) { t.Complete = false }, says: "goes on receiving"},
		"counted late":    {now: "0002-00000003", change: func(_ *Merged, t *Tail) { t.Commits = 8 }, nothing: true, says: "nothing missing"},
	} {
		m, tail, g := merge, tail, mergedGroup(c.now)
		if c.change != nil {
			c.change(&m, &tail)
		}
		g.SystemManaged[0].Merged = &m
		w := Waiting(g, []Tail{tail})[0]
		if w.Commits != c.commits || w.Bytes != c.bytes || w.NothingMissing() != c.nothing || !strings.Contains(w.Sentence(), c.says) {
			t.Errorf("%s: %d commits, %d bytes, nothing missing %v: %s", name, w.Commits, w.Bytes, w.NothingMissing(), w.Sentence())
		}
		if w.Time.IsZero() != (c.commits == 0) {
			t.Errorf("%s: the last one that waits is of %s", name, w.Time)
		}
	}
}
