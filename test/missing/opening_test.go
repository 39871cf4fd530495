package missing_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/wal"
)

// opening is one old server on which many histories ran side by side between one fork and some tips, and the server that took over at the
// fork, on which they went on otherwise.
type opening struct {
	*line
	bin       postgres.Binaries
	histories []*history
	others    []*history // of the server that took over
	fork      wal.LSN
	base      map[string]state
	tips      []tip
	active    *postgres.Server
	// locks says that transactions may be open at the fork, and at tips, that have locked tables, so that a copy which replays can't be read.
	locks bool
}

// tip is a moment of the old server behind the fork.
type tip struct {
	at     wal.LSN
	items  []map[string][]*string // of each history, as it counts itself
	states map[string]state
	// writers are the transactions that wrote rows last, by database, table and key.
	writers map[string]map[string]string
}

// open runs histories on an old server, in so many schemas of each database: to the fork, and then to each of some tips.
func open(t testing.TB, bin postgres.Binaries, schemas, tips int, locks bool, v variant) *opening {
	t.Helper()
	o := &opening{line: startLine(t, bin, v), bin: bin, locks: locks}
	o.begin(schemas)
	o.run(o.histories, 24)
	o.fork = o.position()
	for _, h := range o.histories {
		h.fork()
	}
	for range tips {
		o.run(o.histories, 36/tips)
		now := tip{at: o.position(), items: o.items(), writers: o.writers()}
		o.tips = append(o.tips, now)
	}
	o.end()
	o.fork = o.recordEnd(o.fork)
	for i := range o.tips {
		o.tips[i].at = o.recordEnd(o.tips[i].at)
	}
	if v.turned && !beyondTurn(t, o.old) {
		t.Fatal("the numbers of transactions have not gone round")
	}
	check(t, o.old.Kill(t.Context()))
	o.look()
	return o
}

// items are what the histories know of their table items.
func (o *opening) items() []map[string][]*string {
	var out []map[string][]*string
	for _, h := range o.histories {
		out = append(out, maps.Clone(h.items))
	}
	return out
}

// writers are the transactions that wrote rows last, as the histories know them.
func (o *opening) writers() map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, h := range o.histories {
		if out[h.database] == nil {
			out[h.database] = map[string]string{}
		}
		for id, xid := range h.writers {
			out[h.database][h.schema+".items "+id+"|"] = xid
		}
	}
	return out
}

// look reads what was committed at the fork and at each tip, off servers that were promoted there: they have no locks of what was open, as a
// standby has. What the histories know of themselves must agree.
func (o *opening) look() {
	o.t.Helper()
	o.active = o.activeAt(o.fork)
	o.base = statesOf(o.t, o.active)
	for i := range o.tips {
		r := o.readingPromoted(o.tips[i].at)
		o.tips[i].states = statesOf(o.t, r.s)
		r.stop()
		agree(o.t, o.histories, o.tips[i].items, o.tips[i].states)
	}
	atFork := make([]map[string][]*string, len(o.histories))
	for i, h := range o.histories {
		atFork[i] = h.atFork.items
	}
	agree(o.t, o.histories, atFork, o.base)
}

func (o *opening) begin(schemas int) {
	for d, database := range databases {
		for i := range schemas {
			n := d*schemasPerDatabase + i
			o.histories = append(o.histories, &history{
				ctx: o.t.Context(), server: o.old, database: database, schema: schemaName(i), number: n, kinds: kindsOf(i), wild: o.locks, major: o.bin.Major(),
				r: random(o.t.Name(), o.bin.Major(), n), items: map[string][]*string{}, writers: map[string]string{},
			})
		}
	}
}

// run takes steps in every history.
func (o *opening) run(histories []*history, steps int) {
	o.t.Helper()
	var g errgroup.Group
	g.SetLimit(6)
	for _, h := range histories {
		g.Go(func() error {
			err := h.run(steps)
			if !o.locks {
				h.unlock()
			}
			h.closeIdle()
			return err
		})
	}
	check(o.t, g.Wait())
}

func statesOf(t testing.TB, s *postgres.Server) map[string]state {
	t.Helper()
	states := map[string]state{}
	for _, d := range databases {
		states[d] = stateOf(t, s, d)
	}
	return states
}

// agree compares the table items of a server with what the histories count on.
func agree(t testing.TB, histories []*history, items []map[string][]*string, states map[string]state) {
	t.Helper()
	for i, h := range histories {
		ts := states[h.database][h.schema+".items"]
		want := map[string]string{}
		for id, row := range items[i] {
			want[id+"|"] = whole(row[:5])
		}
		if diff := diffTexts(want, texts(ts.byKey(ts.key, ts.columns))); diff != "" {
			t.Fatalf("history %d says of its table items:\n%s%s", h.number, diff, strings.Join(h.log, "\n"))
		}
	}
}

func texts(rows map[string][]*string) map[string]string {
	out := map[string]string{}
	for k, row := range rows {
		out[k] = whole(row)
	}
	return out
}

// diffTexts lists what differs, a line each.
func diffTexts(want, got map[string]string) string {
	var b strings.Builder
	for _, k := range union(want, got) {
		if want[k] != got[k] {
			fmt.Fprintf(&b, "  %.120q: want %.120q, got %.120q\n", k, want[k], got[k])
		}
	}
	return b.String()
}

// diffStates lists which tables differ, and in which rows.
func diffStates(want, got state) string {
	var b strings.Builder
	for _, n := range union(want, got) {
		if want[n] == nil || got[n] == nil {
			fmt.Fprintf(&b, "%s: one has no such table\n", n)
			continue
		}
		w, g := map[string]string{}, map[string]string{}
		for content, k := range want[n].counts(want[n].columns) {
			w[content] = fmt.Sprint(k)
		}
		for content, k := range got[n].counts(want[n].columns) {
			g[content] = fmt.Sprint(k)
		}
		if diff := diffTexts(w, g); diff != "" {
			b.WriteString(n + ":\n" + diff)
		}
	}
	return b.String()
}

// goOn goes on with the histories on the server that took over.
func (o *opening) goOn(steps int) {
	o.t.Helper()
	for _, h := range o.histories {
		o.others = append(o.others, h.otherAtFork(o.active))
	}
	o.run(o.others, steps)
	for _, h := range o.others {
		check(o.t, h.settle())
	}
	var items []map[string][]*string
	for _, h := range o.others {
		items = append(items, h.items)
	}
	agree(o.t, o.others, items, statesOf(o.t, o.active))
}

// scan finds the changes up to a tip.
func (o *opening) scan(tip wal.LSN, walk missing.Walk) *missing.Changes {
	o.t.Helper()
	changes, err := missing.Scan(o.t.Context(), missing.ScanInput{Walk: walk, Fork: o.fork, Tip: tip, Oldest: o.oldest(), Segment: segmentSize})
	check(o.t, err)
	return changes
}

// sets are change sets by database.
type sets map[string][]byte

// readInput is what ReadFork and ReadTip are given, but for the copy.
func (o *opening) readInput(changes *missing.Changes, dir string) missing.ReadInput {
	return missing.ReadInput{Changes: changes, Databases: databases, Dir: dir, Workspace: "db1", Lineage: "old"}
}

func readTip(ctx context.Context, in missing.ReadInput) (sets, error) {
	buffers := map[string]*bytes.Buffer{}
	_, err := missing.ReadTip(ctx, in, func(database string) (io.WriteCloser, error) {
		buffers[database] = &bytes.Buffer{}
		return nopCloser{buffers[database]}, nil
	})
	out := sets{}
	for d, b := range buffers {
		out[d] = b.Bytes()
	}
	return out, err
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// find scans for all that changed up to a tip, and reads it.
func (o *opening) find(tip tip) sets {
	o.t.Helper()
	return o.read(tip, o.scan(tip.at, o.walk))[0]
}

// read reads what scans found.
func (o *opening) read(tip tip, scans ...*missing.Changes) (found []sets) {
	o.t.Helper()
	inputs := make([]missing.ReadInput, len(scans))
	for i, changes := range scans {
		inputs[i] = o.readInput(changes, o.t.TempDir())
	}
	r := o.readingAt(o.fork)
	defer func() { r.stop() }()
	read := func(at wal.LSN, what func() error) {
		err := what()
		if missing.Locked(err) && o.locks {
			o.t.Logf("at %s: %v", at, err)
			r.stop()
			r = o.readingPromoted(at)
			err = what()
		}
		check(o.t, err)
	}
	read(o.fork, func() error {
		for i := range inputs {
			inputs[i].Connect = r.connect
			if err := missing.ReadFork(o.t.Context(), inputs[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if r.promoted {
		r.stop()
		r = o.readingAt(tip.at)
	} else {
		r.moveTo(tip.at)
	}
	read(tip.at, func() error {
		found = nil
		for _, in := range inputs {
			in.Connect = r.connect
			sets, err := readTip(o.t.Context(), in)
			if err != nil {
				return err
			}
			found = append(found, sets)
		}
		return nil
	})
	return found
}
