package catalog

import (
	"errors"
	"fmt"
	"regexp"
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

// world is two regions, east and west, with a bucket each that can be made to fail.
type world struct {
	*Catalog
	stores map[string]objectstore.Store // without faults
	faults map[string]*objectstore.Faults
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s := devtest.Store(t)
	w := &world{stores: map[string]objectstore.Store{}, faults: map[string]*objectstore.Faults{}}
	for _, region := range []string{"east", "west"} {
		w.stores[region] = objectstore.Sub(s, region+"/")
		w.faults[region] = &objectstore.Faults{}
	}
	w.Catalog = w.process()
	return w
}

// process is another process's view of the same buckets.
func (w *world) process() *Catalog {
	c := &Catalog{Stores: map[string]objectstore.Store{}, Timeout: time.Second}
	for region, s := range w.stores {
		c.Stores[region] = objectstore.WithFaults(s, w.faults[region])
	}
	return c
}

func (w *world) kill(region string) (revive func()) {
	return w.faults[region].Add(objectstore.Rule{Dead: true})
}

func newGroup(name string) topology.Group {
	return topology.Group{
		ID: topology.NewGroupID(), Name: name, Primary: "east",
		Workspaces: []topology.Workspace{{Name: "main", Sites: map[string]topology.Site{
			"east": {Kind: topology.Adopted, Source: topology.Source{ConnString: "postgres://dr@db/postgres"}},
		}}},
	}
}

// configured returns a world with group prod, replicated from east to west.
func configured(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	must(w.Create(t.Context(), newGroup("prod")))(t)
	must(w.MoveAuthority(t.Context(), "prod", "west", configure))(t)
	return w
}

func configure(g *topology.Group) error {
	g.Secondary = "west"
	g.Replication = &topology.Replication{ConfiguredAt: time.Unix(1, 0).UTC()}
	return nil
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantKind(t *testing.T, err error, kind fault.Kind, texts ...string) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Fatalf("got %v (%s), want %s", err, fault.KindOf(err), kind)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
}

// at reads a group as one bucket has it.
func (w *world) at(t *testing.T, region string) topology.Group {
	t.Helper()
	return must(readGroup(t.Context(), w.stores[region], "prod"))(t).group
}

func (w *world) overwrite(t *testing.T, region, key string, body []byte) {
	t.Helper()
	must(w.stores[region].Put(t.Context(), key, body, objectstore.PutOptions{}))(t)
}

func addDatabase(name string) func(*topology.Group) error {
	return func(g *topology.Group) error {
		g.Replication.Databases = append(g.Replication.Databases, name)
		return nil
	}
}

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
	wantKind(t, err, fault.Invalid, "prod")
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
		"no workspace":   func(g *topology.Group) { g.Workspaces = nil },
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
	began := time.Now()
	_, err = w.Load(t.Context(), "prod")
	wantKind(t, err, fault.Transient, "east")
	if !errors.Is(err, ErrUnseen) {
		t.Errorf("%v is not ErrUnseen", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("a dead bucket cost %s", took)
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

func TestDocumentsAreChecked(t *testing.T) {
	w := configured(t)
	_, _, err := w.stores["west"].Get(t.Context(), groupKey("prod"))
	if err != nil {
		t.Fatal(err)
	}
	good, _, _ := w.stores["west"].Get(t.Context(), groupKey("prod"))
	replace := func(old, new string) []byte { return []byte(strings.Replace(string(good), old, new, 1)) }
	for name, c := range map[string]struct {
		body []byte
		kind fault.Kind
		text string
	}{
		"empty":            {[]byte{}, fault.Corrupt, "damaged"},
		"cut":              {good[:len(good)/2], fault.Corrupt, "damaged"},
		"cut by a brace":   {good[:len(good)-2], fault.Corrupt, "damaged"},
		"doubled":          {append(good[:len(good):len(good)], good...), fault.Corrupt, "damaged"},
		"no format":        {replace(`"format": 1,`, ""), fault.Corrupt, "format"},
		"newer format":     {replace(`"format": 1,`, `"format": 2,`), fault.Invalid, "format 2"},
		"wrong type":       {replace(`"revision": 2,`, `"revision": "2",`), fault.Corrupt, "damaged"},
		"other group":      {replace(`"name": "prod"`, `"name": "test"`), fault.Corrupt, "test"},
		"no active region": {replace(`"active": "east"`, `"active": ""`), fault.Corrupt, "active"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, region := range []string{"east", "west"} {
				w.overwrite(t, region, groupKey("prod"), c.body)
			}
			_, err := w.process().Load(t.Context(), "prod")
			wantKind(t, err, c.kind, c.text)
			if fault.HintOf(err) == "" {
				t.Errorf("%v has no hint", err)
			}
		})
	}
}

func TestADamagedCopyIsReplaced(t *testing.T) {
	w := configured(t)
	w.overwrite(t, "east", groupKey("prod"), []byte(`{"format": 1, "na`))
	l := must(w.Load(t.Context(), "prod"))(t)
	if l.Group.Revision != 2 || !strings.Contains(l.Silent["east"], "damaged") {
		t.Errorf("got %+v", l)
	}
	if u := must(w.Update(t.Context(), "prod", addDatabase("app")))(t); !u.Mirrored {
		t.Errorf("not mirrored: %s", u.Reason)
	}
	if g := w.at(t, "east"); g.Revision != 3 {
		t.Errorf("the copy has revision %d", g.Revision)
	}
}

func TestANewerVersionsFieldsAreNotLost(t *testing.T) {
	w := configured(t)
	b, _, err := w.stores["west"].Get(t.Context(), groupKey("prod"))
	if err != nil {
		t.Fatal(err)
	}
	b = []byte(strings.Replace(string(b), `"format": 1,`, `"format": 1, "firewall": ["10.0.0.0/8"],`, 1))
	for _, region := range []string{"east", "west"} {
		w.overwrite(t, region, groupKey("prod"), b)
	}
	must(w.Load(t.Context(), "prod"))(t)
	_, err = w.Update(t.Context(), "prod", addDatabase("app"))
	wantKind(t, err, fault.Invalid, "newer version")
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

func TestARealDeadBucketCostsSeconds(t *testing.T) {
	alive, dead := devtest.Gateway(t), devtest.Gateway(t)
	c := &Catalog{Stores: map[string]objectstore.Store{
		"east": objectstore.WithRetry(devtest.Open(t, dead), objectstore.RetryPolicy{}),
		"west": objectstore.WithRetry(devtest.Open(t, alive), objectstore.RetryPolicy{}),
	}}
	must(c.Create(t.Context(), newGroup("prod")))(t)
	must(c.MoveAuthority(t.Context(), "prod", "west", configure))(t)
	if err := dead.Kill(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s := must(c.Status(t.Context(), "prod", time.Now()))(t)
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("status took %s with one bucket dead", took)
	}
	if s.Silent["east"] == "" || !cmp.Equal(s.ReadFrom, []string{"west"}) {
		t.Errorf("got %v and %v", s.ReadFrom, s.Silent)
	}
	won := must(c.ClaimEpoch(t.Context(), Claim{Group: "prod", Region: "west", Operation: "op", Claimant: "test"}))(t)
	if won.Epoch != 2 {
		t.Errorf("claimed epoch %d", won.Epoch)
	}
}
