package activities

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/topology"
)

// An adopted server that was fenced and then stopped, as the documents advise, is still of use: its files lie where its fence
// says they lie. Those of another server are not taken for them.
func TestTheFilesOfAStoppedAdoptedServerAreUsedAgain(t *testing.T) {
	w := newWorld(t)
	stopped := topology.Site{Kind: topology.Adopted, Source: topology.Source{ConnString: "postgres://dr@127.0.0.1:1/postgres"}}
	w.leave(t, stopped)
	dir := filepath.Join(t.TempDir(), "main")
	check(t, os.MkdirAll(filepath.Join(dir, "global"), 0o755))
	check(t, os.WriteFile(filepath.Join(dir, "global", "pg_control"), nil, 0o600))
	target := &Target{Site: w.Site, Hosting: Hosting{DataDir: t.TempDir()}}
	in := RestoreInput{Group: "prod", To: "east", Plan: WorkspacePlan{Workspace: "main"}}
	if got := target.reuse(t.Context(), in); len(got) > 0 {
		t.Errorf("before anything is known of it: %v", got)
	}
	f := topology.Fence{Group: "prod", Workspace: "main", Lineage: servedBefore, Region: "east", Epoch: 1,
		State: topology.FenceCommitted, Worth: topology.FenceProven, Site: stopped, DataDir: dir}
	fence := func(f topology.Fence) {
		t.Helper()
		_, err := w.Catalog.PutFence(t.Context(), f)
		check(t, err)
	}
	fence(f)
	f.DataDir = "" // an attempt that could not ask
	fence(f)
	if diff := cmp.Diff([]string{dir}, target.reuse(t.Context(), in)); diff != "" {
		t.Error(diff)
	}
	f.Site.Source.ConnString = "postgres://dr@127.0.0.1:2/postgres"
	fence(f)
	if got := target.reuse(t.Context(), in); len(got) > 0 {
		t.Errorf("of another server: %v", got)
	}
}
