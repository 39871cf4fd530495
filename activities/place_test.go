package activities

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

var slotNames = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

func TestSlotName(t *testing.T) {
	if got := slotName("prod", "main"); got != "smartdr_prod_main" {
		t.Errorf("slot %q", got)
	}
	name := rapid.StringMatching(`[a-z0-9][a-z0-9-]{0,62}`)
	rapid.Check(t, func(t *rapid.T) {
		g1, w1, g2, w2 := name.Draw(t, "g1"), name.Draw(t, "w1"), name.Draw(t, "g2"), name.Draw(t, "w2")
		a, b := slotName(g1, w1), slotName(g2, w2)
		if !slotNames.MatchString(a) {
			t.Fatalf("%q is no name for a slot", a)
		}
		if a == b && (g1 != g2 || w1 != w2) {
			t.Fatalf("%s/%s and %s/%s share the slot %s", g1, w1, g2, w2, a)
		}
	})
	for _, pair := range [][4]string{{"a-b", "c", "a", "b-c"}, {"a", "b", "a-", "b"}} {
		if slotName(pair[0], pair[1]) == slotName(pair[2], pair[3]) {
			t.Errorf("%v share a slot", pair)
		}
	}
}

func TestState(t *testing.T) {
	dir := t.TempDir()
	var got owner
	if found, err := readState(dir, ownerFile, &got); found || err != nil {
		t.Fatalf("found %v, %v in an empty folder", found, err)
	}
	want := owner{Group: "prod", Workspace: "main", Epoch: 2, Operation: "op", Port: 6000}
	for range 2 {
		if err := writeState(dir, ownerFile, want); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := readState(dir, ownerFile, &got); !found || err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := os.WriteFile(filepath.Join(dir, ownerFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readState(dir, ownerFile, &got); !fault.Is(err, fault.Corrupt) {
		t.Errorf("half a file is %v", err)
	}
}

func TestAncestry(t *testing.T) {
	fork := func(of string) *topology.Fork { return &topology.Fork{Lineage: of} }
	w := topology.Workspace{Lineages: []topology.Lineage{{ID: "a"}, {ID: "b", Parent: fork("a")}, {ID: "x"}, {ID: "c", Parent: fork("b")}}}
	var ids []string
	for _, l := range ancestry(w, w.Lineages[3]) {
		ids = append(ids, l.ID)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, ids); diff != "" {
		t.Error(diff)
	}
	if line := ancestry(w, w.Lineages[2]); len(line) != 1 {
		t.Errorf("a lineage without a parent has %d in its line", len(line))
	}
}
