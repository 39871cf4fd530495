package retention

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/objectstore/objectstoretest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// keepMissing stores an object of a comparison as they are stored, and returns its keys.
func keepMissing(t *testing.T, store objectstore.Store, key string, kind missing.Kind) {
	t.Helper()
	w := missing.CreateObject(t.Context(), store, key)
	if _, err := w.Write([]byte(key)); err != nil {
		t.Fatal(err)
	}
	if err := w.Publish(t.Context(), missing.Object{Kind: kind}); err != nil {
		t.Fatal(err)
	}
}

// What a comparison has kept stays as long as it is the newest of its lineage, and what leads back from a merge as long as the system-managed
// database.
func TestWhatIsKeptOfMissingRows(t *testing.T) {
	store := objectstoretest.NewMemory()
	at := func(lineage string, tip wal.LSN) missing.Place {
		return missing.Place{Group: "prod", Workspace: "orders", Lineage: lineage, Tip: tip, Database: "Größe/1"}
	}
	const here, gone = "0001-00000001", "0002-00000002"
	older, newer, beyond, other := at(here, 5*mb), at(here, 9*mb), at(here, 10*mb), at(gone, 7*mb)
	crm := older // another database, which nobody has looked at since
	crm.Database = "crm"
	for _, p := range []missing.Place{older, newer, other, crm} {
		keepMissing(t, store, p.SetKey(false), missing.SetObject)
		keepMissing(t, store, p.ReportKey("r-1"), missing.ReportObject)
		keepMissing(t, store, p.UndoKey("r-1", 7), missing.UndoObject)
	}
	keepMissing(t, store, beyond.ReportKey("r-2"), missing.ReportObject) // somebody is about to keep its set
	if _, err := missing.PutDecisions(t.Context(), store, "prod", "orders", nil); err != nil {
		t.Fatal(err)
	}
	g := &topology.Group{Name: "prod", Workspaces: []topology.Workspace{{Name: "orders"}},
		SystemManaged: []topology.SystemManaged{{Name: "a", Workspace: "orders", Lineage: here}, {Name: "b", Workspace: "else", Lineage: gone}}}
	kept := func() (names []string) {
		t.Helper()
		b, err := Read(context.Background(), store, "prod", "orders")
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Unknown) > 0 {
			t.Errorf("not of the known layout: %v", b.Unknown)
		}
		m := Mark(g, "orders", "east", b, nil)
		for _, o := range b.Missing {
			if m.Keys[o.Object.Key] && o.Part == "" {
				names = append(names, o.Object.Key)
			} else if m.Keys[o.Object.Key] != m.Keys[o.Object.Key[:len(o.Object.Key)-len("/000000-")-len(o.Part)]+".json"] && o.Part != "" {
				t.Errorf("a part of %s does not go with its document", o.Object.Key)
			}
		}
		return names
	}
	want := []string{older.UndoKey("r-1", 7), newer.SetKey(false), newer.ReportKey("r-1"), newer.UndoKey("r-1", 7), beyond.ReportKey("r-2"),
		crm.SetKey(false), crm.ReportKey("r-1"), crm.UndoKey("r-1", 7)}
	slices.Sort(want)
	got := kept()
	if n := len(got); n == 0 || !slices.Equal(got[:n-1], want) {
		t.Error(cmp.Diff(append(want, "decisions"), got))
	}
	g.SystemManaged = g.SystemManaged[1:]
	if got := kept(); len(got) > 0 {
		t.Errorf("no system-managed database is left, and %v stay", got)
	}
}
