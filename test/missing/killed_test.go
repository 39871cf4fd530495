package missing_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// A merge whose connection is cut at any of its steps changes nothing, unless it was cut when the server had committed; repeated, it ends as one
// that nothing happened to.
func TestAMergeIsKilledAtEachStep(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		o := open(t, bin, 2, 1, false, variant{})
		o.goOn(16)
		found := o.find(o.tips[0])
		for i, d := range databases {
			policy := []missing.Policy{missing.Keep, missing.Theirs}[i%2]
			o.killedMerge(d, found[d], policy, i >= 2)
		}
	})
}

// killedMerge cuts merges of a database until one is left alone.
func (o *opening) killedMerge(database string, set []byte, policy missing.Policy, whole bool) {
	t := o.t
	before := stateOf(t, o.active, database)
	steps := o.steps(database, set, policy, whole)
	tried := random(t.Name(), database).Perm(len(steps) - 1)
	if !full() {
		tried = tried[:min(len(tried), 4)]
	}
	for _, i := range append(tried, len(steps)-1) {
		step := steps[i]
		if _, err := o.cutMerge(database, set, policy, whole, i); err == nil {
			t.Errorf("%s: a merge that was cut at step %d (%s) says nothing of it", database, i, step)
		}
		if diff := diffStates(before, stateOf(t, o.active, database)); diff != "" {
			t.Fatalf("%s: a merge that was cut at step %d (%s) changed something:\n%s", database, i, step, diff)
		}
	}
	t.Logf("%s: cut at %d of %d steps", database, len(tried)+1, len(steps))
	o.lostAnswer(database, set, policy, whole, before)
}

// steps are those that a merge tells of: its progress, and the moment before it commits. The preview that tells them is rolled back.
func (o *opening) steps(database string, set []byte, policy missing.Policy, whole bool) (steps []string) {
	_, _ = o.mergeWith(o.t.Context(), database, set, missing.MergeInput{Apply: true, Policy: policy, Whole: whole}, o.connectTo(database, nil),
		func(step string) error { steps = append(steps, step); return nil }, errEnough)
	return steps
}

// cutMerge cuts a merge's connection at its nth step.
func (o *opening) cutMerge(database string, set []byte, policy missing.Policy, whole bool, n int) (outcome, error) {
	at := 0
	conn := o.connectTo(database, nil)
	return o.mergeWith(o.t.Context(), database, set, missing.MergeInput{Apply: true, Policy: policy, Whole: whole}, conn, func(string) error {
		if at++; at == n+1 {
			postgrestest.Exec(o.t, o.active, "postgres", fmt.Sprintf("select pg_terminate_backend(%d, 10000)", conn.PgConn().PID()))
		}
		return nil
	}, nil)
}

// mergeWith merges over a connection, and tells each step.
func (o *opening) mergeWith(ctx context.Context, database string, set []byte, in missing.MergeInput, conn *pgx.Conn, step func(string) error, end error) (outcome, error) {
	defer conn.Close(context.Background())
	in.Progress = func(phase string, _, _ int64) { _ = step(phase) }
	given := in.Undo
	in.Undo = func(ctx context.Context, u missing.Undo) error {
		if given != nil {
			if err := given(ctx, u); err != nil {
				return err
			}
		}
		return errors.Join(step("before the commit"), end)
	}
	return o.mergeOver(ctx, conn, set, in)
}

// lostAnswer merges over a connection that breaks when the server has committed, and once more.
func (o *opening) lostAnswer(database string, set []byte, policy missing.Policy, whole bool, before state) {
	t := o.t
	m := o.model(o.tips[0], database, before, policy)
	var kept *missing.Undo
	var broken atomic.Bool
	conn := o.connectTo(database, &broken)
	_, err := o.mergeWith(t.Context(), database, set, missing.MergeInput{Apply: true, Policy: policy, Whole: whole,
		Undo: func(_ context.Context, u missing.Undo) error { kept = &u; return nil }}, conn, func(step string) error {
		if step == "before the commit" {
			broken.Store(true)
		}
		return nil
	}, nil)
	if err == nil || kept == nil {
		t.Fatalf("%s: a merge whose commit was not answered says %v, and gave the record %v", database, err, kept)
	}
	devtest.Until(t, "the merge commits", func() bool {
		return postgrestest.Query(t, o.active, database, fmt.Sprintf("select pg_xact_status('%d')", kept.XID)) != "in progress"
	})
	if status := postgrestest.Query(t, o.active, database, fmt.Sprintf("select pg_xact_status('%d')", kept.XID)); status != "committed" {
		t.Fatalf("%s: the merge whose answer was lost is %s", database, status)
	}
	after := stateOf(t, o.active, database)
	if diff := diffStates(m.after(), after); diff != "" && !whole {
		t.Errorf("%s after a merge whose answer was lost:\n%s", database, diff)
	}
	o.merge(set, database, missing.MergeInput{Apply: true, Policy: policy, Whole: whole, Merged: merged(kept)})
	if diff := diffStates(after, stateOf(t, o.active, database)); diff != "" {
		t.Errorf("%s: the second merge changed something:\n%s", database, diff)
	}
	o.sound(database)
}

// connectTo connects to the active server; over a connection that breaks at the next COMMIT's answer once broken is set.
func (o *opening) connectTo(database string, broken *atomic.Bool) *pgx.Conn {
	o.t.Helper()
	config, err := pgx.ParseConfig(postgrestest.Source(o.active, "postgres", database).ConnString)
	check(o.t, err)
	if broken != nil {
		config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return &deaf{Conn: c, armed: broken}, err
		}
	}
	conn, err := pgx.ConnectConfig(o.t.Context(), config)
	check(o.t, err)
	return conn
}

// deaf is a connection that loses the answer to COMMIT.
type deaf struct {
	net.Conn
	armed *atomic.Bool
	lost  atomic.Bool
}

func (d *deaf) Write(b []byte) (int, error) {
	if d.armed.Load() && strings.Contains(strings.ToLower(string(b)), "commit") {
		d.lost.Store(true)
	}
	return d.Conn.Write(b)
}

func (d *deaf) Read(b []byte) (int, error) {
	if d.lost.Load() {
		one := make([]byte, 1) // the server has answered
		if _, err := d.Conn.Read(one); err != nil {
			return 0, err
		}
		_ = d.Close()
		return 0, net.ErrClosed
	}
	return d.Conn.Read(b)
}
