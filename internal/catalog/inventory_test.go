package catalog

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

func anInventory(epoch topology.Epoch, second int64, content string) Inventory {
	return Inventory{Epoch: epoch, CapturedAt: time.Unix(second, 0).UTC(), Looks: json.RawMessage(`[]`), Content: []byte(content)}
}

// contents are the keys of the contents that a bucket holds.
func (w *world) contents(t *testing.T, region string) (keys []string) {
	t.Helper()
	for info, err := range w.stores[region].List(t.Context(), workspaceKey("prod", "main", inventoryContent), "") {
		keys = append(keys, must(info.Key, err)(t))
	}
	return keys
}

func TestAnInventoryIsReadAsItWasWritten(t *testing.T) {
	w := configured(t)
	_, err := w.Inventory(t.Context(), "prod", "main")
	wantKind(t, err, fault.Missing)
	for n, content := range []string{"one", "one", strings.Repeat("two", 1000)} {
		if err := w.PutInventory(t.Context(), "prod", "main", anInventory(1, int64(n), content)); err != nil {
			t.Fatal(err)
		}
		got := must(w.process().Inventory(t.Context(), "prod", "main"))(t)
		if string(got.Content) != content || got.CapturedAt.Unix() != int64(n) || got.Size != int64(len(content)) {
			t.Errorf("wrote %q at %d, read %+v", content, n, got)
		}
		for _, region := range []string{"east", "west"} {
			if keys := w.contents(t, region); len(keys) != 1 {
				t.Errorf("region %s holds %q", region, keys)
			}
		}
	}
}

func TestOneBucketIsEnoughForAnInventory(t *testing.T) {
	w := configured(t)
	revive := w.kill("east")
	if err := w.PutInventory(t.Context(), "prod", "main", anInventory(1, 1, "old")); err != nil {
		t.Fatal(err)
	}
	revive()
	revive = w.kill("west")
	_, err := w.process().Inventory(t.Context(), "prod", "main")
	wantKind(t, err, fault.Missing)
	revive()
	if err := w.PutInventory(t.Context(), "prod", "main", anInventory(1, 2, "new")); err != nil {
		t.Fatal(err)
	}
	for _, region := range []string{"east", "west"} {
		revive := w.kill(region)
		if got := must(w.process().Inventory(t.Context(), "prod", "main"))(t); string(got.Content) != "new" {
			t.Errorf("without %s: %q", region, got.Content)
		}
		revive()
	}
}

func TestAnOlderEpochCannotReplaceAnInventory(t *testing.T) {
	w := configured(t)
	if err := w.PutInventory(t.Context(), "prod", "main", anInventory(2, 1, "new")); err != nil {
		t.Fatal(err)
	}
	wantKind(t, w.process().PutInventory(t.Context(), "prod", "main", anInventory(1, 9, "old")), fault.Fenced)
	if got := must(w.Inventory(t.Context(), "prod", "main"))(t); string(got.Content) != "new" {
		t.Errorf("read %q", got.Content)
	}
}

func TestADamagedInventoryIsToldApart(t *testing.T) {
	w := configured(t)
	if err := w.PutInventory(t.Context(), "prod", "main", anInventory(1, 1, "one")); err != nil {
		t.Fatal(err)
	}
	key := w.contents(t, "east")[0]
	for name, damage := range map[string]func(){
		"other bytes": func() { w.overwrite(t, "east", key, []byte("no zstd")); w.overwrite(t, "west", key, []byte("no zstd")) },
		"no bytes": func() {
			for _, s := range w.stores {
				if err := s.Delete(t.Context(), key); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		damage()
		_, err := w.Inventory(t.Context(), "prod", "main")
		if !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.PutInventory(t.Context(), "prod", "main", anInventory(1, 2, "two")); err != nil {
		t.Fatal(err)
	}
	if got := must(w.Inventory(t.Context(), "prod", "main"))(t); !bytes.Equal(got.Content, []byte("two")) {
		t.Errorf("after it was written anew: %q", got.Content)
	}
}

// A bucket takes a large inventory at its own pace: the catalog's patience is for small documents.
func TestALargeInventoryIsNotCutOff(t *testing.T) {
	w := configured(t)
	for _, region := range []string{"east", "west"} {
		w.faults[region].Add(objectstore.Rule{Keys: regexp.MustCompile(`/inventory/`), Slow: 1500 * time.Millisecond}) // world's catalogs wait 1 s
	}
	v := Inventory{Epoch: 1, CapturedAt: time.Unix(1, 0).UTC(), Looks: []byte(`{}`), Content: bytes.Repeat([]byte("inventory "), 200_000)}
	if err := w.PutInventory(t.Context(), "prod", "main", v); err != nil {
		t.Fatal(err)
	}
	got := must(w.process().Inventory(t.Context(), "prod", "main"))(t)
	if !bytes.Equal(got.Content, v.Content) {
		t.Errorf("%d bytes", len(got.Content))
	}
}
