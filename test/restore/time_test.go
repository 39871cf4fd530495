package restore_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
	"github.com/smartdr/smartdr/workflows"
)

// TestPointsInTime restores random points of a recorded history, written under load, from both regions' buckets on hosts of both regions. Each
// state that is brought up has exactly the marks up to its point. More points are only resolved: where a branch at each of them begins must be
// behind the commit of its mark, and before that of the next.
func TestPointsInTime(t *testing.T) {
	w := newWorld(t, false)
	load := w.write()
	w.record(20)
	w.more(load, 40)
	w.record(20)
	w.Stop()
	w.shipped()
	attached, resolved := 4, 24
	if os.Getenv("SMARTDR_TEST_FULL") == "1" {
		attached, resolved = 100, 200
	}
	random := rand.New(rand.NewPCG(seed(t), 0))
	ends := map[int]wal.LSN{} // of the commit records of marks, as they were found by transaction
	for i := range resolved {
		w.resolves(w.target(random, i), ends)
	}
	for i := range attached {
		w.attaches(w.target(random, i))
	}
	w.refusesOutside()
}

// seed lets a run be repeated: SMARTDR_TEST_SEED.
func seed(t *testing.T) uint64 {
	n := uint64(time.Now().UnixNano())
	if text := os.Getenv("SMARTDR_TEST_SEED"); text != "" {
		var err error
		n, err = strconv.ParseUint(text, 10, 64)
		check(t, err)
	}
	t.Logf("SMARTDR_TEST_SEED=%d", n)
	return n
}

// point is one that somebody names.
type point struct {
	mark
	kind   string // "time", "lsn", "xid", "name"
	value  string
	region string
	branch string
}

// target chooses a mark, a way to name it and a region: of both in turn.
func (w *world) target(random *rand.Rand, i int) point {
	kinds := []string{"xid", "time", "lsn", "name"}
	p := point{kind: kinds[i/2%len(kinds)], region: []string{devenv.Primary, devenv.Secondary}[i%2]}
	p.mark = w.marks[random.IntN(len(w.marks)-1)]
	if p.kind == "name" {
		p.mark = w.marks[3*(1+random.IntN((len(w.marks)-1)/3))-1]
	}
	switch p.kind {
	case "xid":
		p.value = strconv.FormatUint(uint64(p.xid), 10)
	case "time":
		p.value = p.at.UTC().Format(time.RFC3339Nano)
	case "lsn":
		p.value = p.end.String()
	case "name":
		p.value = p.mark.point
	}
	p.branch = fmt.Sprintf("at-%s-%d-%d", p.kind, p.n, random.Uint32())
	return p
}

func (p point) String() string {
	return fmt.Sprintf("%s %s (mark %d) in %s", p.kind, p.value, p.n, p.region)
}

// resolves makes a branch without a server, and looks where it begins: behind the commit record of its mark, and before the end of the next's.
func (w *world) resolves(p point, ends map[int]wal.LSN) {
	w.Helper()
	base := w.begins(p)
	if p.kind == "xid" {
		w.endOf(p.mark, ends, base)
		return
	}
	from, to := w.endOf(w.marks[p.n-1], ends, 0), w.endOf(w.marks[p.n], ends, 0)
	if base < from || base >= to {
		w.Errorf("%s begins at %s, want at or behind %s and before %s", p, base, from, to)
	}
}

// endOf is where the commit record of a mark ends, as it is found by its transaction in any region's bucket, or was found now.
func (w *world) endOf(m mark, ends map[int]wal.LSN, now wal.LSN) wal.LSN {
	w.Helper()
	if now == 0 && ends[m.n] != 0 {
		return ends[m.n]
	}
	if now == 0 {
		now = w.begins(point{mark: m, kind: "xid", value: strconv.FormatUint(uint64(m.xid), 10), region: devenv.Primary, branch: fmt.Sprintf("end-of-%d", m.n)})
	}
	if now <= m.begin || now > m.end || ends[m.n] != 0 && ends[m.n] != now {
		w.Errorf("the commit of mark %d ends at %s, want behind %s and at or before %s, as %s", m.n, now, m.begin, m.end, ends[m.n])
	}
	ends[m.n] = now
	return now
}

func (w *world) begins(p point) wal.LSN {
	w.Helper()
	var made workflows.BranchResult
	check(w, w.env.SmartDRJSON(w.Context(), &made, "branch", "create", p.branch, "--group", estate.Group, "--region", p.region, "--at-"+p.kind, p.value))
	if made.Branch.Region != p.region {
		w.Errorf("%s lies in %s", p, made.Branch.Region)
	}
	return made.Branch.Base.At.LSN
}

// attaches brings up the state, compares it, and takes it away.
func (w *world) attaches(p point) {
	w.Helper()
	began := time.Now()
	var made workflows.BranchResult
	check(w, w.env.SmartDRJSON(w.Context(), &made, "restore", "--group", estate.Group, "--region", p.region, "--branch", p.branch, "--to-"+p.kind, p.value))
	w.Logf("%s: up in %s", p, time.Since(began).Round(time.Millisecond))
	w.holds(w.connectTo(made.Branch), p.n, p.String())
	w.ok("branch", "detach", p.branch, "--group", estate.Group)
	w.ok("branch", "drop", p.branch, "--group", estate.Group)
}

func (w *world) ok(args ...string) string {
	w.Helper()
	out, err := w.env.SmartDR(w.Context(), args...)
	check(w, err)
	return out
}

// refusesOutside asks for what was never there. Nothing of it is left behind.
func (w *world) refusesOutside() {
	w.Helper()
	before := w.status().Group
	for _, flags := range [][]string{
		{"--to-time", w.marks[0].at.Add(-24 * time.Hour).UTC().Format(time.RFC3339)},
		{"--to-lsn", "0/1000000"},
		{"--to-lsn", (w.marks[len(w.marks)-1].end + 1<<40).String()},
		{"--to-name", "nobody-made-it"},
		{"--to-xid", "4000000000"},
		{},
	} {
		for _, how := range [][]string{nil, {"--in-place", "--yes"}} {
			all := append(append([]string{"restore", "--group", estate.Group}, flags...), how...)
			if out, err := w.env.SmartDR(w.Context(), all...); err == nil || !strings.Contains(err.Error(), "smartdr") {
				w.Errorf("smartdr %s was not refused with what to do: %v\n%s", strings.Join(all, " "), err, out)
			}
		}
	}
	after := w.status().Group
	if len(after.Branches) != len(before.Branches) || after.Workspaces[0].Lineage != before.Workspaces[0].Lineage || !noStandby(after) {
		w.Errorf("what was refused has changed the group: %+v", after)
	}
}

func noStandby(g topology.Group) bool { return len(g.Workspaces[0].Standbys) == 0 }
