package workflows_test

import (
	"path/filepath"
	"testing"

	"go.temporal.io/sdk/worker"

	"github.com/smartdr/smartdr/workflows"
)

// wantHistories guards against a test that passes because nothing was recorded: each workflow type at least once.
const wantHistories = 5

// TestReplay replays what real runs recorded: a change of a workflow that a running one could not survive fails here.
// `make record-histories` records anew.
func TestReplay(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < wantHistories {
		t.Fatalf("%d recorded histories in testdata, want at least %d", len(files), wantHistories)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			replayer := worker.NewWorkflowReplayer()
			for _, w := range []any{workflows.CreateGroup, workflows.Configure, workflows.ChangeDatabases, workflows.Replication, workflows.WorkspaceReplication, workflows.Failover} {
				replayer.RegisterWorkflow(w)
			}
			if err := replayer.ReplayWorkflowHistoryFromJSONFile(nil, file); err != nil {
				t.Error(err)
			}
		})
	}
}
