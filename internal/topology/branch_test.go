package topology

import (
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// branched is a group whose workspace wrote A, then B from A's 100 on; branch "one" is of A at 80 and has written X and Y, "two" is of
// one's X at 85 and is unwritten.
func branched() *Group {
	fork := func(of string, tl wal.Timeline, at wal.LSN) Fork {
		return Fork{Lineage: of, At: wal.Position{Timeline: tl, LSN: at}}
	}
	l := func(id string, parent ...Fork) Lineage {
		l := Lineage{ID: id, Epoch: 1, Region: "east", SegmentSize: 16 << 20}
		if len(parent) > 0 {
			l.Parent = &parent[0]
		}
		return l
	}
	x, y := l("0002-0000000a", fork("0001-0000000a", 1, 80)), l("0002-0000000b", fork("0002-0000000a", 2, 90))
	return &Group{Name: "prod", Primary: "east", Secondary: "west", Active: "west", Authority: "west", Epoch: 2, SmartDR: true,
		Workspaces: []Workspace{{Name: "main", Lineage: "0002-0000000c", Lineages: []Lineage{
			l("0001-0000000a"), l("0002-0000000c", fork("0001-0000000a", 1, 100)),
		}}},
		Branches: []Branch{
			{Name: "one", Workspace: "main", Region: "west", Base: fork("0001-0000000a", 1, 80), Line: []Lineage{x, y}, Own: 2},
			{Name: "two", Workspace: "main", Region: "west", From: "one", Base: fork("0002-0000000a", 2, 85), Line: []Lineage{x}},
		},
		SystemManaged: []SystemManaged{{Name: "app_20261122T221000Z", Workspace: "main", Database: "app", Lineage: "0001-0000000a",
			Fork: wal.Position{Timeline: 1, LSN: 100}}},
	}
}

func ids(line []Lineage) string {
	var all []string
	for _, l := range line {
		all = append(all, l.ID[:4]+l.ID[12:])
	}
	return strings.Join(all, " ")
}

func TestLineOfABranch(t *testing.T) {
	g := branched()
	for lineage, want := range map[string]string{
		"0001-0000000a": "", "0002-0000000c": "", "0002-0000000a": "0002a", "0002-0000000b": "0002a 0002b",
	} {
		if got := ids(g.BranchLine("main", lineage)); got != want {
			t.Errorf("a branch on %s has the line %q, want %q", lineage, got, want)
		}
	}
	if got := ids(g.Ancestry("main", "0002-0000000b")); got != "0001a 0002a 0002b" {
		t.Errorf("the way is %s", got)
	}
	if got := ids(g.Branches[0].OwnLine()) + ", " + ids(g.Branches[1].OwnLine()); got != "0002a 0002b, " {
		t.Errorf("own lineages: %s", got)
	}
	// The parent may go: what the other one comes from stays known.
	check(t, g.RemoveBranch("one"))
	check(t, g.Validate())
	if got := ids(g.Ancestry("main", "0002-0000000a")); got != "0001a 0002a" {
		t.Errorf("without the parent the way is %s", got)
	}
}

func TestBranchesThatCannotBe(t *testing.T) {
	check(t, branched().Validate())
	for name, c := range map[string]struct {
		change func(*Group)
		says   string
	}{
		"two of a name":            {func(g *Group) { g.Branches[1].Name = "one" }, "two branches named one"},
		"a workspace's name":       {func(g *Group) { g.Branches[1].Name = "main" }, "a workspace and a branch named main"},
		"a bad name":               {func(g *Group) { g.Branches[1].Name = "Two_" }, `"Two_" is no name for a branch`},
		"no such workspace":        {func(g *Group) { g.Branches[1].Workspace = "side" }, `"side"`},
		"no such region":           {func(g *Group) { g.Branches[1].Region = "north" }, `"north"`},
		"more own than there are":  {func(g *Group) { g.Branches[1].Own = 2 }, "2 of 1 lineages"},
		"an unknown base":          {func(g *Group) { g.Branches[1].Base.Lineage = "0009-0000000a" }, "which is not known"},
		"its line was lost":        {func(g *Group) { g.Branches[1].Line = nil }, "which is not known"},
		"a line from nothing":      {func(g *Group) { g.Branches[0].Line[0].Parent = nil }, "comes from nothing"},
		"a line from elsewhere":    {func(g *Group) { g.Branches[0].Line = g.Branches[0].Line[1:]; g.Branches[0].Own = 1 }, "not the one before it"},
		"another beginning":        {func(g *Group) { g.Branches[0].Base.Lineage = "0002-0000000c" }, "went on from"},
		"a line behind an end":     {func(g *Group) { g.Branches[0].Line[0].End = &LineageEnd{At: wal.Position{Timeline: 2, LSN: 89}} }, "behind the end"},
		"the workspace's lineage":  {func(g *Group) { g.Workspaces[0].Lineages = append(g.Workspaces[0].Lineages, g.Branches[0].Line[0]) }, "of branch one and of its workspace"},
		"attached to nothing":      {func(g *Group) { g.Branches[0].Attached = &Attachment{State: Attaching} }, "without an id"},
		"in an unknown state":      {func(g *Group) { g.Branches[0].Attached = &Attachment{ID: "a", State: "up"} }, `unknown state "up"`},
		"continued without a line": {func(g *Group) { g.SystemManaged[0].Lineage = "0009-0000000a" }, "does not list"},
	} {
		g := branched()
		c.change(g)
		if err := g.Validate(); err == nil || !strings.Contains(err.Error(), c.says) || !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What retention has given up is not referred to anew, unless a branch needs it anyway.
func TestPointsThatMayBeReferredTo(t *testing.T) {
	g := branched()
	g.Workspaces[0].Floors = map[string]Floors{"west": {"0001-0000000a": 95, "0002-0000000a": Gone, "0002-0000000b": Gone}}
	for name, c := range map[string]struct {
		region, lineage string
		tl              wal.Timeline
		at              wal.LSN
		want            bool
	}{
		"above the floor":                         {"west", "0001-0000000a", 1, 95, true},
		"below it":                                {"west", "0001-0000000a", 1, 94, false},
		"below it, where a branch begins":         {"west", "0001-0000000a", 1, 80, true},
		"the same in a bucket without the branch": {"east", "0001-0000000a", 1, 80, true},
		"a lineage without a floor":               {"west", "0002-0000000c", 2, 100, true},
		"on a branch's way":                       {"west", "0002-0000000a", 2, 84, true},
		"where it goes on":                        {"west", "0002-0000000a", 2, 90, true},
		"behind where it went on":                 {"west", "0002-0000000a", 2, 91, false},
		"on a newer timeline than it went on":     {"west", "0002-0000000a", 3, 89, false},
		"on its newest lineage":                   {"west", "0002-0000000b", 3, 1000, true},
	} {
		if got := g.Referable("main", c.region, Fork{c.lineage, wal.Position{Timeline: c.tl, LSN: c.at}}); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	check(t, g.RemoveBranch("one"))
	for at, want := range map[wal.LSN]bool{85: true, 86: false} { // branch two ends there
		if got := g.Referable("main", "west", Fork{"0002-0000000a", wal.Position{Timeline: 2, LSN: at}}); got != want {
			t.Errorf("without the parent, at %s: %v", at, got)
		}
	}
}

func TestAddAndRemoveBranches(t *testing.T) {
	g := branched()
	b := Branch{Name: "three", Workspace: "main", Region: "west", Base: Fork{"0002-0000000c", wal.Position{Timeline: 2, LSN: 150}}, CreatedAt: time.Unix(5, 0)}
	for range 2 { // the second time it is there
		check(t, g.AddBranch(b))
	}
	g.Operation = &OperationRef{ID: "x", Kind: "Failover"} // is in nobody's way
	if len(g.Branches) != 3 {
		t.Fatalf("%d branches", len(g.Branches))
	}
	with := func(change func(*Branch)) Branch { c := b; change(&c); return c }
	for name, c := range map[string]struct {
		b    Branch
		kind fault.Kind
	}{
		"another point":   {with(func(b *Branch) { b.Base.At.LSN++ }), fault.Taken},
		"another time":    {with(func(b *Branch) { b.CreatedAt = time.Unix(6, 0) }), fault.Taken},
		"a workspace":     {with(func(b *Branch) { b.Name = "main" }), fault.Taken},
		"a bad name":      {with(func(b *Branch) { b.Name = "-" }), fault.Invalid},
		"of what is gone": {with(func(b *Branch) { b.Name, b.From = "four", "gone" }), fault.Missing},
		"no workspace":    {with(func(b *Branch) { b.Name, b.Workspace = "four", "side" }), fault.Missing},
	} {
		if err := g.AddBranch(c.b); !fault.Is(err, c.kind) || fault.KindOf(err) == fault.Taken && fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	g.SmartDR, b.Name = false, "four"
	if err := g.AddBranch(b); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.HintOf(err), "--smartdr") {
		t.Errorf("without the option: %v", err)
	}
	g.Branches[0].Attached = &Attachment{ID: "a", State: AttachmentServes, Host: "h"}
	if err := g.CheckDrop("one", false); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.HintOf(err), "smartdr branch detach one") {
		t.Errorf("an attached one: %v", err)
	}
	check(t, g.CheckDrop("one", true))
	if err := g.RemoveBranch("one"); !fault.Is(err, fault.Invalid) {
		t.Errorf("an attached one was removed: %v", err)
	}
	if err := g.CheckDrop("nothing", true); !fault.Is(err, fault.Missing) {
		t.Errorf("what is not there: %v", err)
	}
	for _, name := range []string{"two", "app_20261122T221000Z", "nothing"} {
		check(t, g.RemoveBranch(name))
	}
	if g.Branch("two") != nil || len(g.Branches) != 2 || len(g.SystemManaged) != 0 {
		t.Errorf("left: %v, %v", g.Branches, g.SystemManaged)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestSystemManagedDatabaseCanBeBranchedBehindItsFork(t *testing.T) {
	g := branched()
	g.Workspaces[0].Floors = map[string]Floors{"west": {"0001-0000000a": Gone}}
	at := func(l wal.LSN) Fork { return Fork{Lineage: "0001-0000000a", At: wal.Position{Timeline: 1, LSN: l}} }
	if !g.Referable("main", "west", at(100)) || !g.Referable("main", "west", at(120)) {
		t.Error("what has arrived of a system-managed database stays, and nobody may branch it")
	}
	if g.Referable("main", "west", at(99)) {
		t.Error("what lies before its fork is gone, and may be branched")
	}
	if g.SystemManaged = nil; g.Referable("main", "west", at(120)) {
		t.Error("it may be branched after it was dropped")
	}
}
