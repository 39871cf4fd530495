package chaos_test

import (
	"context"
	"strings"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// workflowIDs of the operations.
var workflowIDs = map[string]string{
	estate.Failover: workflows.FailoverID(estate.Group), estate.Switchover: workflows.SwitchoverID(estate.Group), estate.Failback: workflows.FailbackID(estate.Group),
}

// moveUnderFire carries a move out while its strikes fall. A planned one that could not keep its cap under fire has put everything
// back, which the clients must not have noticed beyond a pause; it is asked for once more in peace.
func (c *chaos) moveUnderFire(ctx context.Context, m move) topology.Operation {
	c.t.Helper()
	var op topology.Operation
	var err error
	n := 0
	devtest.During(c.t, c.env.Temporal, workflowIDs[m.kind], func(ctx context.Context, activity string, _ int) {
		n++
		c.strike(ctx, m, activity, n)
	}, func() { op, err = c.in.Operate(ctx, m.kind) })
	if op.State != topology.OperationReverted {
		c.must(err)
		return op
	}
	c.t.Logf("the %s put everything back: %s", m.kind, op.Error)
	c.must(c.in.Written(ctx, 20))
	_, err = c.in.Verify(ctx)
	c.must(err)
	c.must(c.in.WaitProtected(ctx))
	op, err = c.in.Operate(ctx, m.kind)
	c.must(err)
	return op
}

// strike kills what is due at the n-th activity of the move's workflow.
func (c *chaos) strike(ctx context.Context, m move, activity string, n int) {
	for _, s := range m.strikes {
		// What is gone stays gone until the move is over.
		if s.at != n || c.lost != "" && strings.HasSuffix(targets[s.target].name, " of "+c.lost) {
			continue
		}
		c.t.Logf("%s killed as %s begins", targets[s.target].name, activity)
		if err := targets[s.target].kill(ctx, c.env); err != nil {
			c.t.Errorf("kill %s: %v", targets[s.target].name, err)
		}
	}
}
