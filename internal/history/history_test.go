package history_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/history"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	size  = wal.SegmentSize(1 << 20)
	piece = 1 << 18 // bytes of WAL in an object
)

// world is a workspace with a bucket in which WAL lies that says nothing but where it lies.
type world struct {
	t        *testing.T
	store    objectstore.Store
	counters *objectstore.Counters
	group    topology.Group
	began    time.Time
	idle     bool // nobody commits
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, counters: new(objectstore.Counters), began: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)}
	w.store = objectstore.WithCounters(devtest.Store(t), w.counters)
	w.group = topology.Group{Name: "prod", Primary: "east", Secondary: "west", Workspaces: []topology.Workspace{{Name: "orders"}}}
	return w
}

// at is the moment at which a position of a lineage was written: each object takes a second.
func (w *world) at(l wal.LSN) time.Time { return w.began.Add(time.Duration(l/piece) * time.Second) }

// lineage adds one that goes on from another one's fork, or begins at an LSN.
func (w *world) lineage(id string, start wal.LSN, parent *topology.Fork) topology.Lineage {
	l := topology.Lineage{ID: id, Epoch: 1, SystemID: "7", SegmentSize: size, Start: wal.Position{Timeline: 1, LSN: start}, Parent: parent, CreatedAt: w.at(start)}
	if parent != nil {
		l.Start = wal.Position{Timeline: parent.At.Timeline + 1, LSN: size.Start(parent.At.LSN)}
	}
	ws := &w.group.Workspaces[0]
	ws.Lineages, ws.Lineage = append(ws.Lineages, l), id
	return l
}

// ship stores WAL of a lineage's timeline.
func (w *world) ship(l topology.Lineage, tli wal.Timeline, from, to wal.LSN) {
	w.t.Helper()
	a, d := archive.Open(w.store, "prod", "orders", l.ID), archive.NewDigest()
	for at := from; at < to; at += piece {
		end := min(at+piece, to)
		h := archive.Header{Group: "prod", Workspace: "orders", Lineage: l.ID, Epoch: 1, SystemID: "7", Timeline: tli, Start: at, End: end, State: d.State(),
			RecordEnd: end - 8, LastCommit: archive.Commit{LSN: at, Time: w.at(at)}, AsOf: w.at(end).Add(time.Millisecond)}
		if w.idle {
			h.LastCommit = archive.Commit{}
		}
		raw := make([]byte, end-at)
		d.Write(raw)
		h.Digest = d.Sum()
		s, err := archive.Seal(h, raw)
		check(w.t, err)
		_, err = a.Put(w.t.Context(), s)
		check(w.t, err)
	}
}

func (w *world) snapshot(l topology.Lineage, tli wal.Timeline, start, end wal.LSN) string {
	w.t.Helper()
	m := &snapshot.Manifest{Format: 1, ID: snapshot.NewID(w.at(start)), Group: "prod", Workspace: "orders", Lineage: l.ID, SystemID: "7", SegmentSize: size,
		Start: wal.Position{Timeline: tli, LSN: start}, End: wal.Position{Timeline: tli, LSN: end}, StartedAt: w.at(start), CompletedAt: w.at(end)}
	check(w.t, snapshot.Publish(w.t.Context(), w.store, m))
	return m.ID
}

func (w *world) history(l topology.Lineage, tli wal.Timeline, h wal.History) {
	w.t.Helper()
	check(w.t, archive.Open(w.store, "prod", "orders", l.ID).PutHistory(w.t.Context(), tli, h.Format()))
}

func (w *world) lose(l topology.Lineage, tli wal.Timeline, start wal.LSN) {
	w.t.Helper()
	key := archive.Open(w.store, "prod", "orders", l.ID).Key(tli, wal.Range{Start: start, End: start + piece})
	_, err := w.store.Head(w.t.Context(), key)
	check(w.t, err)
	check(w.t, w.store.Delete(w.t.Context(), key))
}

func (w *world) read() *history.Contents {
	w.t.Helper()
	c, err := history.Read(w.t.Context(), w.store, "west", w.group, "orders")
	check(w.t, err)
	return c
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lines writes a timeline in MiB, for comparing.
func lines(t topology.Timeline) string {
	var b strings.Builder
	mib := func(p wal.Position) string { return fmt.Sprintf("%d:%.4g", p.Timeline, float64(p.LSN)/(1<<20)) }
	for _, w := range t.Windows {
		fmt.Fprintln(&b, strings.TrimSpace(fmt.Sprintf("%s %s-%s %d %s", w.Lineage, mib(w.From), mib(w.To), len(w.Snapshots), w.Of)))
	}
	for _, g := range t.Gaps {
		fmt.Fprintf(&b, "gap %s %s-%s\n", g.Lineage, mib(g.From), mib(g.To))
	}
	return b.String()
}

func (w *world) want(t topology.Timeline, want string, reasons ...string) {
	w.t.Helper()
	var all []string
	for line := range strings.Lines(want) {
		all = append(all, strings.TrimSpace(line)+"\n")
	}
	if got := lines(t); got != strings.Join(all, "") {
		w.t.Errorf("got\n%swant\n%s%+v", got, strings.Join(all, ""), t.Gaps)
	}
	for i, reason := range reasons {
		if i < len(t.Gaps) && !strings.Contains(t.Gaps[i].Reason, reason) {
			w.t.Errorf("gap %d because %q, want %q", i, t.Gaps[i].Reason, reason)
		}
	}
}

const mib = 1 << 20

// What lies on one lineage: a window from the first snapshot's end to the last record, in few requests.
func TestOneLineage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.lineage("0001-0000000a", 2*mib, nil)
	w.ship(a, 1, 2*mib, 20*mib)
	w.snapshot(a, 1, 3*mib, 4*mib)
	w.snapshot(a, 1, 10*mib, 11*mib)
	before := w.counters.Requests()
	c := w.read()
	if n := w.counters.Requests() - before; n > 8 {
		t.Errorf("%d requests", n)
	}
	tl := c.Timeline()
	w.want(tl, "0001-0000000a 1:4-1:20 2 serves")
	got := tl.Windows[0]
	if !got.FromTime.Equal(w.at(4*mib-piece)) || !got.ToTime.Equal(w.at(20*mib).Add(time.Millisecond)) {
		t.Errorf("from %s to %s", got.FromTime, got.ToTime)
	}

	// what retention has given up is no gap, nor is what is missing there
	w.lose(a, 1, 5*mib)
	w.group.Workspaces[0].Floors = map[string]topology.Floors{"west": {a.ID: 11 * mib}}
	w.want(w.read().Timeline(), "0001-0000000a 1:11-1:20 1 serves")
	w.group.Workspaces[0].Floors["west"][a.ID] = topology.Gone
	w.want(w.read().Timeline(), "")
}

// A missing segment ends what can be restored until the next snapshot behind it, and that is said. So is a snapshot whose WAL is not there.
func TestHoleInALineage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.lineage("0001-0000000a", 2*mib, nil)
	w.ship(a, 1, 2*mib, 20*mib)
	w.snapshot(a, 1, 3*mib, 4*mib)
	bad := w.snapshot(a, 1, 7*mib, 9*mib)
	c := w.read()
	w.want(c.Timeline(), "0001-0000000a 1:4-1:20 2 serves")
	w.lose(a, 1, 8*mib)
	missing := "the WAL from 0/800000 to 0/840000 is missing"
	w.want(w.read().Timeline(), "0001-0000000a 1:4-1:8 1 serves\ngap 0001-0000000a 1:8-1:20", missing)
	w.snapshot(a, 1, 12*mib, 13*mib)
	holed := w.read().Timeline()
	w.want(holed, "0001-0000000a 1:4-1:8 1 serves\n0001-0000000a 1:13-1:20 1 serves\ngap 0001-0000000a 1:8-1:13", missing)
	if !strings.Contains(holed.Gaps[0].Reason, bad) {
		t.Errorf("snapshot %s is not named: %s", bad, holed.Gaps[0].Reason)
	}
	w.want(c.Without(archive.Open(w.store, "prod", "orders", a.ID).Key(1, wal.Range{Start: 8 * mib, End: 8*mib + piece})).Timeline(),
		"0001-0000000a 1:4-1:8 1 serves\ngap 0001-0000000a 1:8-1:20", missing)

	for _, refused := range []topology.Target{{LSN: 10 * mib}, {Time: w.at(10 * mib)}} {
		err := history.Check(holed, refused)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), missing) || !strings.Contains(fault.HintOf(err), "0/7FFFF8") || !strings.Contains(fault.HintOf(err), "0/D00000") {
			t.Errorf("%+v: %v, hint %q", refused, err, fault.HintOf(err))
		}
	}
	for _, allowed := range []topology.Target{{LSN: 5 * mib}, {LSN: 13 * mib}, {Time: w.at(15 * mib)}, {XID: 7}, {Name: "x"}, {}} {
		if err := history.Check(holed, allowed); err != nil {
			t.Errorf("%+v: %v", allowed, err)
		}
	}
	for refused, nearest := range map[topology.Target]string{{LSN: 30 * mib}: "behind all", {LSN: 1 * mib}: "before all", {Time: w.began}: "before all", {Time: w.at(90 * mib)}: "behind all"} {
		if err := history.Check(holed, refused); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), nearest) || !strings.Contains(fault.HintOf(err), "Nearest: 2026-") {
			t.Errorf("%+v: %v, hint %q", refused, err, fault.HintOf(err))
		}
	}
}

// A branch that was detached with discard ends where that fixed it, whatever has come since; what is missing before is a gap.
func TestDiscardedLineage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.lineage("0001-0000000a", 2*mib, nil)
	w.group.Workspaces[0].Lineages[0].End = &topology.LineageEnd{At: wal.Position{Timeline: 1, LSN: 8 * mib}}
	w.ship(a, 1, 2*mib, 20*mib)
	w.history(a, 2, wal.History{{Timeline: 1, LSN: 7 * mib, Reason: "no recovery target specified"}}) // came later, too
	w.snapshot(a, 1, 3*mib, 4*mib)
	w.want(w.read().Timeline(), "0001-0000000a 1:4-1:8 1 serves")
	w.lose(a, 1, 6*mib)
	if got := w.read().Timeline(); len(got.Gaps) != 1 || got.Gaps[0].From.LSN != 6*mib-8 || got.Gaps[0].To.LSN != 8*mib {
		t.Errorf("what is missing before the end is no gap: %+v", got)
	}
}

// A lineage goes on from its parent's fork as long as the way there is whole; what its parent wrote behind the fork stays restorable.
func TestFork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.lineage("0001-0000000a", 2*mib, nil)
	w.ship(a, 1, 2*mib, 20*mib)
	first := w.snapshot(a, 1, 3*mib, 4*mib)
	b := w.lineage("0002-0000000b", 0, &topology.Fork{Lineage: a.ID, At: wal.Position{Timeline: 1, LSN: 15 * mib}})
	w.ship(b, 2, 15*mib, 30*mib)
	w.history(b, 2, wal.History{{Timeline: 1, LSN: 15 * mib, Reason: "no recovery target specified"}})
	w.snapshot(b, 2, 20*mib, 21*mib)
	c := w.lineage("0002-0000000c", 0, &topology.Fork{Lineage: b.ID, At: wal.Position{Timeline: 2, LSN: 18 * mib}})
	w.ship(c, 3, 18*mib, 19*mib)
	w.history(c, 3, wal.History{{Timeline: 1, LSN: 15 * mib}, {Timeline: 2, LSN: 18 * mib}})
	ws := &w.group.Workspaces[0]
	ws.Lineages, ws.Lineage = ws.Lineages[:2], b.ID
	w.group.Branches = []topology.Branch{{Name: "test", Workspace: "orders", Region: "west", Line: []topology.Lineage{c}, Own: 1}}
	w.group.SystemManaged = []topology.SystemManaged{{Name: "app_20261123T100000Z", Workspace: "orders", Lineage: a.ID}}

	got := w.read()
	tl := got.Timeline()
	w.want(tl, `0001-0000000a 1:4-1:20 1 system-managed app_20261123T100000Z
		0002-0000000b 1:15-2:30 2 serves
		0002-0000000c 2:18-3:19 1 branch test`)
	if w2 := tl.Windows[2]; w2.Snapshots[0].ID != first || !tl.Windows[1].FromTime.Equal(w.at(15*mib-piece)) {
		t.Errorf("%+v", tl)
	}
	w.want(got.Along(c.ID), "0001-0000000a 1:4-1:15 1 system-managed app_20261123T100000Z\n0002-0000000b 1:15-2:18 1 serves\n0002-0000000c 2:18-3:19 1 branch test")

	w.lose(a, 1, 14*mib) // the way to the fork
	w.want(w.read().Timeline(), `0001-0000000a 1:4-1:14 1 system-managed app_20261123T100000Z
		0002-0000000b 2:21-2:30 1 serves
		gap 0001-0000000a 1:14-1:20
		gap 0002-0000000b 2:15-2:21
		gap 0002-0000000c 3:18-3:19`, "is missing", "it goes on from lineage 0001-0000000a", "it goes on from lineage 0002-0000000b")
}

// Where nobody committed between a snapshot and the fork, what comes behind the fork begins with the snapshot's moment.
func TestForkWithoutACommit(t *testing.T) {
	w := newWorld(t)
	w.idle = true
	a := w.lineage("0001-0000000a", 16*mib, nil)
	w.ship(a, 1, 16*mib, 24*mib)
	w.snapshot(a, 1, 17*mib, 18*mib)
	b := w.lineage("0002-0000000b", 0, &topology.Fork{Lineage: a.ID, At: wal.Position{Timeline: 1, LSN: 22 * mib}})
	w.history(b, 2, wal.History{{Timeline: 1, LSN: 22 * mib}})
	w.ship(b, 2, 22*mib, 30*mib)
	windows := w.read().Timeline().Windows
	if len(windows) != 2 || !windows[1].FromTime.Equal(w.at(17*mib)) {
		t.Errorf("windows %+v", windows)
	}
}

// Where the server no longer had the WAL a lineage began anew: what is between is a gap, and what came before can still be chosen.
func TestNewLineageAfterAHole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.lineage("0001-0000000a", 2*mib, nil)
	w.ship(a, 1, 2*mib, 8*mib)
	w.snapshot(a, 1, 3*mib, 4*mib)
	b := w.lineage("0001-0000000b", 12*mib, nil)
	w.ship(b, 1, 12*mib, 20*mib)
	w.want(w.read().Timeline(), "0001-0000000a 1:4-1:8 1\ngap 0001-0000000b 1:8-1:20", "no snapshot leads into it")
	w.snapshot(b, 1, 13*mib, 14*mib)
	want := "0001-0000000a 1:4-1:8 1\n0001-0000000b 1:14-1:20 1 serves\ngap 0001-0000000b 1:8-1:14"
	w.want(w.read().Timeline(), want, "the server no longer had the WAL")
	w.want(w.read().Along(b.ID), want, "the server no longer had the WAL")
	if g := w.read().Timeline().Gaps[0]; !g.FromTime.Equal(w.at(8*mib - piece)) {
		t.Errorf("the gap begins at %s", g.FromTime)
	}
}

// Without a timeline's history file nobody knows which way the lineage goes: nothing of it can be used, as a restore says too.
func TestMissingHistoryFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.lineage("0001-0000000a", 2*mib, nil)
	w.ship(a, 1, 2*mib, 10*mib)
	w.snapshot(a, 1, 3*mib, 4*mib)
	w.ship(a, 2, 9*mib, 15*mib)
	w.want(w.read().Timeline(), "gap 0001-0000000a 1:2-1:10", "without its history file 00000002.history")
	if err := history.Check(w.read().Timeline(), topology.Target{LSN: 5 * mib}); !strings.Contains(fault.HintOf(err), "00000002.history") {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
	w.history(a, 2, wal.History{{Timeline: 1, LSN: 9 * mib}})
	w.snapshot(a, 1, 9*mib+piece, 10*mib) // of the old server, behind the switch
	w.want(w.read().Timeline(), "0001-0000000a 1:4-2:15 1 serves")
	w.snapshot(a, 2, 20*mib, 21*mib)
	w.want(w.read().Timeline(), "0001-0000000a 1:4-2:15 1 serves\ngap 0001-0000000a 2:15-2:21", "cannot be used")
}

// What cannot be asked for is refused.
func TestRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := history.Read(t.Context(), w.store, "west", w.group, "nope"); !fault.Is(err, fault.Missing) {
		t.Errorf("a workspace that is not there: %v", err)
	}
	err := history.Check(w.read().Timeline(), topology.Target{LSN: 1})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(fault.HintOf(err), "first snapshot") {
		t.Errorf("nothing there: %v, hint %q", err, fault.HintOf(err))
	}
}
