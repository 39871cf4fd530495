package topology

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadingAGroupReplacesIt(t *testing.T) {
	before := Group{Name: "prod", State: GroupTerminated, Workspaces: []Workspace{
		{Name: "main", State: WorkspacePending, Reason: "no room", Settings: map[string]string{"jit": "off"}},
		{Name: "reports", State: WorkspaceSuspended},
	}}
	want := Group{Name: "prod", Workspaces: []Workspace{{Name: "main"}}}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &before); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, before); diff != "" {
		t.Error(diff)
	}
}
