package fence_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
)

// A subscription writes nothing while its server is fenced, not after a restart either, and goes on when the fence is lifted.
func TestSubscriptionsStandStill(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		w := newWorld(t, bin, nil)
		publisher := postgrestest.Start(t, bin, map[string]string{"wal_level": "logical"})
		postgrestest.Exec(t, publisher, "postgres", "CREATE TABLE other (n bigint); CREATE PUBLICATION p FOR TABLE other")
		postgrestest.Exec(t, w.server, "shop", fmt.Sprintf("CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=%d user=postgres dbname=postgres' PUBLICATION p", publisher.Port))
		arrives := func(n int) {
			t.Helper()
			postgrestest.Exec(t, publisher, "postgres", fmt.Sprintf("INSERT INTO other VALUES (%d)", n))
			devtest.Until(t, "a change arrives", func() bool {
				return postgrestest.Query(t, w.server, "shop", fmt.Sprintf("SELECT count(*) FROM other WHERE n = %d", n)) == "1"
			})
		}
		workers := func() string {
			return postgrestest.Query(t, w.server, "shop", "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'logical replication%worker'")
		}
		arrives(1)
		o := w.options("op-1")
		w.apply(o)
		if n := workers(); n != "0" {
			t.Errorf("%s workers", n)
		}
		w.lift("op-1")
		arrives(2)
		o.ForGood = true
		w.apply(o)
		postgrestest.Check(t, w.server.Stop(t.Context(), postgres.Fast))
		postgrestest.Check(t, w.server.Start(t.Context()))
		postgrestest.Exec(t, publisher, "postgres", "INSERT INTO other VALUES (3)")
		if n := workers(); n != "0" {
			t.Errorf("%s workers after a restart", n)
		}
		if note := w.lift("op-1"); !strings.Contains(note, "restart") {
			t.Errorf("note %q", note)
		}
		if got := postgrestest.Query(t, w.server, "shop", "SELECT subenabled FROM pg_subscription"); got != "true" {
			t.Errorf("enabled: %s", got)
		}
	})
}

// The command line may decide how soon a subscription's worker comes back, as on a server that was restored.
func TestSubscriptionsOfARestoredServerStandStill(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		w := newWorld(t, bin, map[string]string{"wal_retrieve_retry_interval": "100ms"})
		publisher := postgrestest.Start(t, bin, map[string]string{"wal_level": "logical"})
		postgrestest.Exec(t, publisher, "postgres", "CREATE TABLE other (n bigint); CREATE PUBLICATION p FOR TABLE other")
		postgrestest.Exec(t, w.server, "shop", fmt.Sprintf("CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=%d user=postgres dbname=postgres' PUBLICATION p", publisher.Port))
		count := func() string { return postgrestest.Query(t, w.server, "shop", "SELECT count(*) FROM other") }
		workers := func() string {
			return postgrestest.Query(t, w.server, "shop", "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'logical replication%worker'")
		}
		postgrestest.Exec(t, publisher, "postgres", "INSERT INTO other VALUES (1)")
		devtest.Until(t, "the first change arrives", func() bool { return count() == "1" })
		r := w.apply(w.options("op-1"))
		postgrestest.Exec(t, publisher, "postgres", "INSERT INTO other VALUES (2)")
		time.Sleep(time.Second) // ten times the interval
		if got := count(); got != "1" || r.Worth != topology.FenceProven || !w.inForce(w.options("op-1")) {
			t.Errorf("%s changes arrived; %+v", got, r)
		}
		guarded := make(chan error, 1)
		go func() { guarded <- r.Guard(context.Background(), w.source) }()
		w.lift("op-1") // the guard lets go
		devtest.Until(t, "it goes on", func() bool { return count() == "2" })
		postgrestest.Check(t, <-guarded)
		o := w.options("op-2")
		r = w.apply(o)
		go func() { guarded <- r.Guard(context.Background(), w.source) }()
		o.ForGood = true
		w.apply(o)
		// One that had begun to start finds its subscription disabled, and ends.
		devtest.Until(t, "no worker is left", func() bool { return workers() == "0" })
		postgrestest.Exec(t, publisher, "postgres", "INSERT INTO other VALUES (3)")
		time.Sleep(time.Second)
		if got := count(); got != "2" || !w.inForce(o) {
			t.Errorf("%s changes arrived", got)
		}
	})
}
