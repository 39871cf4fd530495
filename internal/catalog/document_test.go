package catalog

import (
	"strings"
	"testing"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

func TestDocumentsAreChecked(t *testing.T) {
	w := configured(t)
	good, _, err := w.stores["west"].Get(t.Context(), groupKey("prod"))
	if err != nil {
		t.Fatal(err)
	}
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
	b = []byte(strings.Replace(string(b), `"format": 1,`, `"format": 1, "tariff": ["night"],`, 1))
	for _, region := range []string{"east", "west"} {
		w.overwrite(t, region, groupKey("prod"), b)
	}
	must(w.Load(t.Context(), "prod"))(t)
	_, err = w.Update(t.Context(), "prod", addDatabase("app"))
	wantKind(t, err, fault.Invalid, "newer version")
}

// What can be read of a damaged document may be wrong too, and what was joined is never taken back.
func TestNothingOfADamagedDocumentCounts(t *testing.T) {
	key := tailKey("prod", "main", oneLineage)
	damaged := []byte(`{"format": 1, "lineage": "` + oneLineage + `", "complete": true, "commits": 7, "region": 5}`)
	b, err := overTail(key, damaged, topology.Tail{Format: format, Workspace: "main", Lineage: oneLineage, Commits: 1})
	if err != nil {
		t.Fatal(err)
	}
	var got topology.Tail
	if err := decode(key, b, &got); err != nil {
		t.Fatal(err)
	}
	if got.Complete || got.Commits != 1 {
		t.Errorf("%+v was joined with what is damaged", got)
	}
	if _, _, err := former[topology.Tail](key, []byte(`{"format": 2}`)); !fault.Is(err, fault.Invalid) {
		t.Errorf("a document of a newer version is written over: %v", err)
	}
}
