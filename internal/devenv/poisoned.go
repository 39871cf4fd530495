package devenv

import (
	"context"
	"strings"
	"time"

	"go.temporal.io/api/workflowservice/v1"
)

// patient is how long one question to Temporal may take. Far longer than an answer does: a request that is cut off in the middle
// of a query is what poisons the dev server.
const patient = 30 * time.Second

// interrupted is SQLITE_INTERRUPT as modernc.org/sqlite says it.
const interrupted = "interrupted (9)"

// poisoned returns an error when the server's only connection to its database file refuses everything. Before its version 1.44,
// modernc.org/sqlite forgets to finalize a statement whose request is cancelled between its first row and its return. SQLite takes back
// an interrupt only when no statement is active, so from then on every query ends with SQLITE_INTERRUPT, until the process does.
func (t *Temporal) poisoned(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	c, err := t.Dial(ctx)
	if err != nil {
		return onlyInterrupted(err) // starting, or on its way out
	}
	defer c.Close()
	_, err = c.WorkflowService().GetClusterInfo(ctx, &workflowservice.GetClusterInfoRequest{})
	return onlyInterrupted(err)
}

func onlyInterrupted(err error) error {
	if err != nil && strings.Contains(err.Error(), interrupted) {
		return err
	}
	return nil
}
