package verify_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/verify"
	"github.com/smartdr/smartdr/workflows"
)

// After a failover, with the lost region back, its tail brought home, a branch of it attached and written to, and retention run, both buckets are whole.
func TestVerifyAfterAFailover(t *testing.T) {
	t.Parallel()
	majors, err := devenv.Majors()
	check(t, err)
	env, err := devenv.StartEnv(t.Context(), devenv.EnvOptions{Dir: filepath.Join(devtest.Dir(t), "env"), NoUI: true, Major: majors[len(majors)-1]})
	check(t, err)
	w := &world{t: t, env: env}
	e, err := estate.New(t.Context(), env, estate.Options{Managed: true, Megabytes: 2})
	t.Cleanup(func() {
		if e != nil {
			e.Stop()
		}
		devtest.End(t, env)
	})
	check(t, err)
	check(t, e.WaitProtected(t.Context()))
	e.Write(t.Context(), 20*time.Millisecond)
	check(t, e.Written(t.Context(), 50))
	check(t, e.Lose(t.Context(), devenv.Primary))
	_, err = e.Operate(t.Context(), estate.Failover)
	check(t, err)
	check(t, e.Written(t.Context(), 50))
	w.whole("--region", devenv.Secondary, "--read", "all")
	check(t, env.ReviveRegion(t.Context(), devenv.Primary))
	check(t, e.WaitTails(t.Context()))
	check(t, e.WaitProtected(t.Context()))
	var made workflows.BranchResult
	check(t, env.SmartDRJSON(t.Context(), &made, "branch", "create", "again", "--group", estate.Group, "--attach"))
	conn, err := e.Space(estate.Managed).ConnectTo(t.Context(), made.Branch.Attached.Endpoint.Hosts[0])
	check(t, err)
	_, err = conn.Exec(t.Context(), "insert into transfers (id) values ('in the branch')")
	check(t, err)
	check(t, conn.Close(t.Context()))
	w.whole("--read", "all")
	w.smartdr("branch", "detach", "--group", estate.Group, "again")
	w.smartdr("retention", "run", "--group", estate.Group)
	w.whole("--local", "--read", "all")
	w.aged()
	w.smartdr("branch", "drop", "--group", estate.Group, "again")
	w.whole()
}

// aged checks both buckets as if all that is in them were a day old: then what nothing refers to counts too.
func (w *world) aged() {
	t := w.t
	stores := map[string]objectstore.Store{}
	for _, region := range []string{devenv.Primary, devenv.Secondary} {
		stores[region] = w.store(region)
	}
	loaded, err := (&catalog.Catalog{Stores: stores}).Load(t.Context(), estate.Group)
	check(t, err)
	for region := range stores {
		v, err := verify.Check{Stores: stores, Group: loaded.Group, Region: region, Read: topology.VerifyAll,
			Now: func() time.Time { return time.Now().Add(24 * time.Hour) }}.Run(t.Context())
		check(t, err)
		for _, f := range v.Findings {
			t.Errorf("a day later, %s: %+v", region, f)
		}
	}
}
