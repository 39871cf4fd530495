package catalog

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

func TestCreateIsIdempotentByID(t *testing.T) {
	w := newWorld(t)
	g := newGroup("prod")
	first := must(w.Create(t.Context(), g))(t)
	second := must(w.process().Create(t.Context(), g))(t)
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
	if first.Revision != 1 || first.Epoch != 1 || first.Active != "east" || first.Authority != "east" {
		t.Errorf("got %+v", first)
	}
	_, err := w.Create(t.Context(), newGroup("prod"))
	wantKind(t, err, fault.Taken, "prod")
	if e := must(w.NewestEpoch(t.Context(), "prod"))(t); e != 1 {
		t.Errorf("epoch %d is the newest, want 1", e)
	}
}

func TestCreateRefuses(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*topology.Group){
		"no id":          func(g *topology.Group) { g.ID = "" },
		"bad name":       func(g *topology.Group) { g.Name = "Prod/1" },
		"unknown region": func(g *topology.Group) { g.Primary, g.Workspaces[0].Sites = "mars", nil },
		"same twice":     func(g *topology.Group) { g.Secondary = g.Primary },
		"unknown state":  func(g *topology.Group) { g.Workspaces[0].State = "asleep" },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGroup("prod")
			change(&g)
			_, err := w.Create(t.Context(), g)
			wantKind(t, err, fault.Invalid)
		})
	}
}

func TestUnknownGroupIsMissingOnlyIfEveryBucketSaysSo(t *testing.T) {
	w := newWorld(t)
	_, err := w.Load(t.Context(), "prod")
	wantKind(t, err, fault.Missing, "prod")
	w.kill("east")
	_, err = w.Load(t.Context(), "prod")
	wantKind(t, err, fault.Transient, "east")
	if !errors.Is(err, ErrUnseen) {
		t.Errorf("%v is not ErrUnseen", err)
	}
	if asked := w.faults["east"].Struck(); asked > 1 {
		t.Errorf("a dead bucket was waited for %d times", asked)
	}
}

func TestConfiguringMovesTheAuthorityAndCopiesEverything(t *testing.T) {
	w := configured(t)
	if diff := cmp.Diff(w.at(t, "east"), w.at(t, "west")); diff != "" {
		t.Error(diff)
	}
	if g := w.at(t, "west"); g.Authority != "west" || g.Secondary != "west" || g.Revision != 2 {
		t.Errorf("got %+v", g)
	}
	if e := must(newestEpoch(t.Context(), w.stores["west"], "prod"))(t); e != 1 {
		t.Errorf("the new authority knows epoch %d, want 1", e)
	}
	u := must(w.MoveAuthority(t.Context(), "prod", "west", configure))(t)
	if u.Group.Revision != 2 {
		t.Errorf("a repeated move wrote revision %d", u.Group.Revision)
	}
}

func TestContendingWritersLoseNothing(t *testing.T) {
	w := configured(t)
	const writers = 16
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			if _, err := w.process().Update(t.Context(), "prod", addDatabase(fmt.Sprint("db", i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	g := must(w.Load(t.Context(), "prod"))(t).Group
	if len(g.Replication.Databases) != writers || g.Revision != 2+writers {
		t.Errorf("revision %d with %v", g.Revision, g.Replication.Databases)
	}
	if diff := cmp.Diff(w.at(t, "west"), w.at(t, "east")); diff != "" {
		t.Errorf("the copy differs:\n%s", diff)
	}
}

func TestUpdateWithTheOtherBucketDead(t *testing.T) {
	w := configured(t)
	revive := w.kill("east")
	u := must(w.Update(t.Context(), "prod", addDatabase("app")))(t)
	if u.Mirrored || !strings.Contains(u.Reason, "east") {
		t.Errorf("got %+v", u)
	}
	l := must(w.Load(t.Context(), "prod"))(t)
	if l.Group.Revision != 3 || l.Silent["east"] == "" || !cmp.Equal(l.From, []string{"west"}) {
		t.Errorf("got %+v", l)
	}
	revive()
	if g := w.at(t, "east"); g.Revision != 2 {
		t.Fatalf("revision %d is in a bucket that was dead", g.Revision)
	}
	if l := must(w.Load(t.Context(), "prod"))(t); l.Group.Revision != 3 {
		t.Errorf("read revision %d, not the highest", l.Group.Revision)
	}
	if err := w.Mirror(t.Context(), "prod"); err != nil {
		t.Fatal(err)
	}
	if g := w.at(t, "east"); g.Revision != 3 {
		t.Errorf("revision %d after mirroring", g.Revision)
	}
}

func TestASlowCopyDoesNotUndoANewerOne(t *testing.T) {
	w := configured(t)
	old := must(readGroup(t.Context(), w.stores["east"], "prod"))(t)
	must(w.Update(t.Context(), "prod", addDatabase("app")))(t)
	if err := putNewerGroup(t.Context(), w.stores["east"], old); err != nil {
		t.Fatal(err)
	}
	if g := w.at(t, "east"); g.Revision != 3 {
		t.Errorf("revision %d after an older copy arrived", g.Revision)
	}
}

func TestUpdateNeedsTheAuthority(t *testing.T) {
	w := configured(t)
	w.kill("west")
	_, err := w.Update(t.Context(), "prod", addDatabase("app"))
	wantKind(t, err, fault.Transient, "west", "decides")
	if g := w.at(t, "east"); g.Revision != 2 {
		t.Errorf("revision %d was written without the authority", g.Revision)
	}
}

func TestUpdateReturnsTheChangesOwnError(t *testing.T) {
	w := configured(t)
	mine := fault.Newf(fault.Conflict, "change", "not today")
	calls := 0
	_, err := w.Update(t.Context(), "prod", func(*topology.Group) error { calls++; return mine })
	if !errors.Is(err, mine) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	_, err = w.Update(t.Context(), "prod", func(g *topology.Group) error { g.Active = "mars"; return nil })
	wantKind(t, err, fault.Invalid, "mars")
}

func TestAnInterruptedMoveIsFinishedAndLosesNothing(t *testing.T) {
	w := newWorld(t)
	must(w.Create(t.Context(), newGroup("prod")))(t)
	// The copy before the switch goes through, the one after it does not: the old bucket says that the new one decides,
	// and the new one has not heard of it.
	puts := regexp.MustCompile(`group\.json$`)
	w.faults["west"].Add(objectstore.Rule{Ops: objectstore.OpPut, Keys: puts, Times: 1})
	revive := w.faults["west"].Add(objectstore.Rule{Ops: objectstore.OpPut, Keys: puts, Fail: fault.Newf(fault.Transient, "put", "died")})
	_, err := w.MoveAuthority(t.Context(), "prod", "west", configure)
	wantKind(t, err, fault.Transient)
	if w.at(t, "east").Authority != "west" || w.at(t, "west").Authority != "east" {
		t.Fatal("the move did not stop where it should")
	}
	revive()
	must(w.process().MoveAuthority(t.Context(), "prod", "west", configure))(t)
	if g := w.at(t, "west"); g.Authority != "west" {
		t.Errorf("got %+v", g)
	}
}

func TestWhileTheNewAuthorityIsBehind(t *testing.T) {
	w := configured(t)
	// The state after a crash between the switch and the last copy: east says that west decides, west says east.
	behind := w.at(t, "west")
	behind.Authority, behind.Revision = "east", 1
	w.overwrite(t, "west", groupKey("prod"), must(encode(behind))(t))

	revive := w.kill("east")
	_, err := w.process().Update(t.Context(), "prod", addDatabase("a"))
	wantKind(t, err, fault.Transient, "east")
	revive()
	revive = w.kill("west")
	_, err = w.process().Update(t.Context(), "prod", addDatabase("b"))
	wantKind(t, err, fault.Transient, "west")
	revive()
	u := must(w.process().Update(t.Context(), "prod", addDatabase("c")))(t)
	if !cmp.Equal(u.Group.Replication.Databases, []string{"c"}) || w.at(t, "west").Authority != "west" {
		t.Errorf("got %+v", u.Group)
	}
}

func TestDifferentGroupsOfOneNameDiverge(t *testing.T) {
	w := configured(t)
	other := w.at(t, "east")
	other.ID = topology.NewGroupID()
	w.overwrite(t, "east", groupKey("prod"), must(encode(other))(t))
	_, err := w.Load(t.Context(), "prod")
	wantKind(t, err, fault.Diverged, other.ID)

	same := w.at(t, "west")
	same.Epoch = 7
	w.overwrite(t, "east", groupKey("prod"), must(encode(same))(t))
	_, err = w.Load(t.Context(), "prod")
	wantKind(t, err, fault.Diverged, "revision 2")
}

func TestGroups(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"a", "a-b", "a0", "b"} {
		must(w.Create(t.Context(), newGroup(name)))(t)
	}
	for range 3 { // more keys behind a group's name than its document
		must(w.stores["east"].Put(t.Context(), workspaceKey("a", "main", "wal/x"), nil, objectstore.PutOptions{}))(t)
	}
	names, silent, err := w.Groups(t.Context())
	if err != nil || len(silent) != 0 || !cmp.Equal(names, []string{"a", "a-b", "a0", "b"}) {
		t.Errorf("got %v, %v, %v", names, silent, err)
	}
	w.kill("west")
	names, silent, err = w.Groups(t.Context())
	if err != nil || silent["west"] == "" || len(names) != 4 {
		t.Errorf("got %v, %v, %v", names, silent, err)
	}
}

func TestASilentBucketIsWaitedForOnce(t *testing.T) {
	w := configured(t)
	revive := w.kill("east")
	c := w.process()
	east := &waits{Store: c.Stores["east"]}
	c.Stores["east"] = east
	must(c.Load(t.Context(), "prod"))(t) // takes the whole timeout
	for range 4 {
		must(c.Load(t.Context(), "prod"))(t)
	}
	if given := east.given; len(given) != 5 || given[0] <= c.Timeout/8 || slices.Max(given[1:]) > c.Timeout/8 {
		t.Errorf("it was given %s to answer", given)
	}
	revive()
	devtest.Until(t, "it to be heard again", func() bool { return len(must(c.Load(t.Context(), "prod"))(t).Silent) == 0 })
}

// One that is dead is asked a few times, and each time the retries of its store take seconds.
func TestARealDeadBucketCostsSeconds(t *testing.T) {
	alive, dead := devtest.Gateway(t), devtest.Gateway(t)
	east := &waits{Store: objectstore.WithRetry(devtest.Open(t, dead), objectstore.RetryPolicy{})}
	c := &Catalog{Timeout: time.Minute, Stores: map[string]objectstore.Store{
		"east": east,
		"west": objectstore.WithRetry(devtest.Open(t, alive), objectstore.RetryPolicy{}),
	}}
	must(c.Create(t.Context(), newGroup("prod")))(t)
	must(c.MoveAuthority(t.Context(), "prod", "west", configure))(t)
	if err := dead.Kill(); err != nil {
		t.Fatal(err)
	}
	east.given = nil
	s := must(c.Status(t.Context(), "prod", time.Now()))(t)
	if len(east.given) != 1 || east.given[0] > c.Timeout {
		t.Errorf("status waited for it %s", east.given)
	}
	if s.Silent["east"] == "" || !cmp.Equal(s.ReadFrom, []string{"west"}) {
		t.Errorf("got %v and %v", s.ReadFrom, s.Silent)
	}
	won := must(c.ClaimEpoch(t.Context(), Claim{Group: "prod", Region: "west", Operation: "op", Claimant: "test"}))(t)
	if won.Epoch != 2 {
		t.Errorf("claimed epoch %d", won.Epoch)
	}
	if len(east.given) > 3 {
		t.Errorf("status and claim waited for it %s", east.given)
	}
}
