package topology

import (
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// y is the newest lineage of branch one; x the one before, in which two begins.
const x, y = "0002-0000000a", "0002-0000000b"

func endAt(tl wal.Timeline, at wal.LSN) LineageEnd {
	return LineageEnd{At: wal.Position{Timeline: tl, LSN: at}, LastCommit: time.Unix(9, 0)}
}

func TestADiscardedLineageEndsWhereverItIsNamed(t *testing.T) {
	g := branched()
	before := g.Branches[0].Line
	g.Discard(x, endAt(2, 95))
	for _, b := range g.Branches {
		if got := b.Line[0].Ends(); got.LSN != 95 || got.Timeline != 2 {
			t.Errorf("in branch %s it ends at %s", b.Name, got)
		}
	}
	if before[0].End != nil {
		t.Error("a document that others read was changed")
	}
	if got := g.Branches[0].Line[1].Ends(); got != (wal.Position{}) {
		t.Errorf("the lineage behind it ends at %s", got)
	}
	check(t, g.Validate())
}

// What something begins at was found in the bucket.
func TestADiscardedLineageEndsBehindAllThatBeginsInIt(t *testing.T) {
	for name, c := range map[string]struct {
		drop string
		want wal.LSN
	}{"a lineage": {"two", 90}, "a branch": {"one", 85}} {
		g := branched()
		check(t, g.RemoveBranch(c.drop))
		g.Discard(x, LineageEnd{Announced: true})
		if end := g.Branches[0].Line[0].End; end.At.LSN != c.want || !end.Announced {
			t.Errorf("%s begins in it: it ends at %+v", name, end)
		}
	}
}

func TestTheTipOfABranch(t *testing.T) {
	g := branched()
	one, two := &g.Branches[0], &g.Branches[1]
	if l, at := one.Tip(); l != y || at != (wal.Position{}) {
		t.Errorf("one that goes on has its tip at %s of %s", at, l)
	}
	if l, at := two.Tip(); l != x || at != two.Base.At {
		t.Errorf("an unwritten one has its tip at %s of %s", at, l)
	}
	g.Discard(y, endAt(3, 120))
	if l, at := one.Tip(); l != y || at.LSN != 120 {
		t.Errorf("a discarded one has its tip at %s of %s", at, l)
	}
}

// A branch that is added after its point was looked for sees what was given up meanwhile.
func TestNoBranchBeginsAtWhatWasGivenUp(t *testing.T) {
	asked := func(at wal.LSN) Branch {
		g := branched()
		return Branch{Name: "three", Workspace: "main", Region: "west", From: "one", Base: Fork{y, wal.Position{Timeline: 3, LSN: at}}, Line: g.BranchLine("main", y)}
	}
	g := branched()
	g.Discard(y, endAt(3, 120))
	check(t, g.AddBranch(asked(120)))
	if b := g.Branch("three"); len(b.Line) != 2 || b.Line[1].Ends().LSN != 120 {
		t.Errorf("the branch that was added goes by %+v", b.Line)
	}
	late := asked(121)
	late.Name = "four"
	if err := g.AddBranch(late); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "ends at 0/78") || fault.HintOf(err) == "" {
		t.Errorf("behind the end: %v", err)
	}
	g = branched()
	g.Branches[0].Line, g.Branches[0].Own = g.Branches[0].Line[:1], 1 // nothing of y had arrived
	if err := g.AddBranch(asked(100)); !fault.Is(err, fault.Missing) || fault.HintOf(err) == "" || len(g.Branches) != 2 {
		t.Errorf("in a lineage that was forgotten: %v", err)
	}
}
