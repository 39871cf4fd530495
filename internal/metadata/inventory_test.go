package metadata

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var someName = rapid.SampledFrom([]string{"a", "b", "c", `"A b"`})

var someItem = rapid.Custom(func(t *rapid.T) Item {
	kind := rapid.SampledFrom([]string{"role", "table", "password", "user mapping"}).Draw(t, "kind")
	return Item{Kind: kind, Name: someName.Draw(t, "name"), Facts: rapid.MapOfN(rapid.SampledFrom([]string{"owner", "options", "count"}), someName, 0, 3).Draw(t, "facts")}
})

// somePart has sorted items with distinct names, as captures do.
func somePart(database string) *rapid.Generator[Part] {
	return rapid.Custom(func(t *rapid.T) Part {
		items := map[[2]string]Item{}
		for _, i := range rapid.SliceOfN(someItem, 0, 6).Draw(t, "items") {
			items[[2]string{i.Kind, i.Name}] = i
		}
		sorted := slices.SortedFunc(maps.Values(items), Item.compare)
		return Part{Database: database, Items: append([]Item{}, sorted...), Look: Look{At: time.Unix(rapid.Int64Range(1, 99).Draw(t, "at"), 0).UTC()}}
	})
}

var someInventory = rapid.Custom(func(t *rapid.T) Inventory {
	v := Inventory{ServerVersion: 180000, Parts: []Part{somePart("").Draw(t, "server")}}
	for _, d := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"app", "shop"}), rapid.ID).Draw(t, "databases") {
		v.Parts = append(v.Parts, somePart(d).Draw(t, d))
	}
	sortParts(v.Parts)
	return v
})

// A comparison lists exactly what would have to be changed on one side to get the other.
func TestMismatchesLeadFromOneInventoryToTheOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := someInventory.Draw(t, "a"), someInventory.Draw(t, "b")
		if found := CompareInventories(a, a); len(found) > 0 {
			t.Fatalf("an inventory differs from itself: %v", found)
		}
		there, back := CompareInventories(a, b), CompareInventories(b, a)
		if len(there) != len(back) {
			t.Fatalf("%d differences one way, %d the other", len(there), len(back))
		}
		for i, m := range there {
			if want := (Mismatch{m.Database, m.Kind, m.Name, m.Fact, m.B, m.A}); back[i] != want {
				t.Fatalf("%v is not the mirror image of %v", back[i], m)
			}
		}
		same := cmp.Equal(flat(a), flat(b))
		if same != (len(there) == 0) {
			t.Fatalf("the same: %v, and found %v", same, there)
		}
	})
}

// flat is an inventory without what does not count: when it was looked at, and the difference between an empty fact and none.
func flat(v Inventory) map[string]string {
	out := map[string]string{}
	for _, p := range v.Parts {
		out["part "+p.Database] = ""
		for _, i := range p.Items {
			out[p.Database+"/"+i.Kind+"/"+i.Name] = ""
			for k, f := range i.Facts {
				out[p.Database+"/"+i.Kind+"/"+i.Name+"/"+k] = f
			}
		}
	}
	return out
}

func TestInventoriesAreWrittenAndRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := someInventory.Draw(t, "v")
		content, looks, err := EncodeInventory(v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeInventory(content, looks)
		if err != nil {
			t.Fatal(err)
		}
		if found := CompareInventories(v, got); len(found) > 0 || got.OldestLook().At != v.OldestLook().At {
			t.Fatalf("read back: %v, %v", found, got.OldestLook())
		}
		later := v
		later.Parts = slices.Clone(v.Parts)
		later.Parts[0].Look.At = time.Now()
		again, _, err := EncodeInventory(later)
		if err != nil || string(again) != string(content) {
			t.Fatalf("the same things seen later give other bytes (%v)", err)
		}
	})
}

func role(name string, facts ...string) Item {
	i := Item{Kind: "role", Name: name, Facts: map[string]string{}}
	for n := 0; n < len(facts); n += 2 {
		i.Facts[facts[n]] = facts[n+1]
	}
	return i
}

func TestMismatchesArePutIntoWords(t *testing.T) {
	a := Inventory{Parts: []Part{
		{Items: []Item{role("app", "connection limit", "10"), role("gone"), {Kind: "password", Name: "app", Facts: map[string]string{"kind": "md5", "secret secret": "1"}}}},
		{Database: "shop", Items: []Item{{Kind: "every table", Name: "in schema s", Facts: map[string]string{"count": "3", "digest": "x"}}}, Summed: []Group{"tables, views and sequences"}},
	}}
	b := Inventory{Parts: []Part{
		{Items: []Item{role("app", "connection limit", "-1"), role("new"), {Kind: "password", Name: "app", Facts: map[string]string{"kind": "md5", "secret secret": "2"}}}},
		{Database: "shop", Items: []Item{{Kind: "every table", Name: "in schema s", Facts: map[string]string{"count": "2", "digest": "y"}}}, Summed: []Group{"tables, views and sequences"}},
	}}
	var got []string
	for _, m := range CompareInventories(a, b) {
		got = append(got, m.String())
	}
	want := []string{
		"password app: another secret on the primary than here",
		"role app: connection limit 10 on the primary, -1 here",
		"role gone: only on the primary",
		"role new: only here",
		"every table in schema s of database shop: count 3 on the primary, 2 here",
		"every table in schema s of database shop: not all are the same on the primary and here (too many to be listed)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatOneSideCannotSeeIsNotCompared(t *testing.T) {
	seen := Inventory{Parts: []Part{{Items: []Item{{Kind: "password", Name: "app", Facts: map[string]string{"kind": "md5"}}, role("app")}}}}
	blind := Inventory{Parts: []Part{{Items: []Item{role("app")}, Unseen: []Group{"passwords"}}}}
	if found := CompareInventories(seen, blind); len(found) > 0 {
		t.Errorf("found %v", found)
	}
	blind.Parts[0].Unseen = nil
	if found := CompareInventories(seen, blind); len(found) != 1 {
		t.Errorf("a password that is gone: found %v", found)
	}
	hidden := Inventory{Parts: []Part{{Database: "d", Items: []Item{{Kind: "user mapping", Name: "for a", Facts: map[string]string{"x": "1"}}}, Unseen: []Group{"options of user mappings"}}}}
	clear := Inventory{Parts: []Part{{Database: "d", Items: []Item{{Kind: "user mapping", Name: "for a", Facts: map[string]string{"x": "2", "options": "user"}}}}}}
	if found := CompareInventories(hidden, clear); len(found) != 1 || found[0].Fact != "x" {
		t.Errorf("only the options are hidden: found %v", found)
	}
}

func TestWhatOneSideCountedIsOneMismatch(t *testing.T) {
	table := func(n int) Item { return Item{Kind: "table", Name: "t" + strconv.Itoa(n)} }
	listing := Inventory{Parts: []Part{{Database: "d", Items: []Item{table(1), table(2)}}}}
	counting := Inventory{Parts: []Part{{Database: "d", Items: []Item{{Kind: "every table", Name: "in schema s", Facts: map[string]string{"count": "2"}}}, Summed: []Group{"tables, views and sequences"}}}}
	if found := CompareInventories(listing, counting); len(found) != 1 || !strings.Contains(found[0].String(), "too many") {
		t.Errorf("found %v", found)
	}
}

func TestAfterAFailoverLeftOutDatabasesAreGone(t *testing.T) {
	in := func(name, enabled string) Item {
		return Item{Kind: kindSubscription, Name: "s in database " + name, Facts: map[string]string{factDatabase: name, "enabled": enabled, "slot": "s", "owner": "o"}}
	}
	v := Inventory{Parts: []Part{
		{Items: []Item{{Kind: "database", Name: "app"}, {Kind: "database", Name: "left Out"}, in("app", "true"), in("left Out", "true"), role("app")}},
		{Database: "app"}, {Database: "left Out"},
	}}
	want := Inventory{Parts: []Part{
		{Items: []Item{{Kind: "database", Name: "app"}, {Kind: kindSubscription, Name: "s in database app", Facts: map[string]string{factDatabase: "app", "owner": "o"}}, role("app")}},
		{Database: "app", Items: []Item{}},
	}}
	if diff := cmp.Diff(want, v.AfterFailover("left Out")); diff != "" {
		t.Error(diff)
	}
	if len(v.Parts) != 3 || v.Parts[0].Items[2].Facts["slot"] != "s" {
		t.Error("the inventory itself was changed")
	}
}

func TestAnUnreadDatabaseIsTakenFromTheInventoryBefore(t *testing.T) {
	at := func(n int64) Look { return Look{At: time.Unix(n, 0).UTC(), LSN: 1} }
	older := Inventory{Parts: []Part{{Look: at(1)}, {Database: "app", Look: at(1), Items: []Item{role("x")}}, {Database: "gone", Look: at(1)}}}
	newer := Inventory{Parts: []Part{{Look: at(2), Items: []Item{{Kind: "database", Name: "app"}, {Kind: "database", Name: "new"}}}, {Database: "new", Look: at(2)}}}
	got := newer.Completed(older)
	b, err := json.Marshal(got)
	if err != nil || len(got.Parts) != 3 || got.Part("app") == nil || got.Part("gone") != nil || got.OldestLook() != at(1) {
		t.Errorf("got %s (%v), oldest look %v", b, err, got.OldestLook())
	}
}
