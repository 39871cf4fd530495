package restore_test

import (
	"testing"

	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/restore"
)

// A subscription that was made after the settings were captured does not run either; without one nothing is held back.
func TestNoSubscriptionRunsUnforeseen(t *testing.T) {
	const (
		workers = "SELECT current_setting('max_logical_replication_workers')"
		running = "SELECT count(*) FROM pg_stat_subscription WHERE pid IS NOT NULL"
	)
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		src := startSource(t, bin, nil)
		postgrestest.Exec(t, src.server, "postgres", "CREATE SUBSCRIPTION late CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p WITH (connect = false, slot_name = 'late')")
		postgrestest.Exec(t, src.server, "postgres", "ALTER SUBSCRIPTION late ENABLE")
		in := src.restore(t, src.end(t), 0)
		got, err := attachNow(t, in)
		postgrestest.Check(t, err)
		checkAttached(t, in, got, 2)
		again(t, in, got)
		if got := postgrestest.Query(t, in.Server, "postgres", workers); got != "0" {
			t.Errorf("%s workers, and an enabled subscription", got)
		}
		if n := postgrestest.Query(t, in.Server, "postgres", running); n != "0" {
			t.Errorf("%s subscriptions run", n)
		}

		postgrestest.Exec(t, src.server, "postgres", "ALTER SUBSCRIPTION late DISABLE")
		in = src.restore(t, src.end(t), 0)
		_, err = attachNow(t, in)
		postgrestest.Check(t, err)
		if got := postgrestest.Query(t, in.Server, "postgres", workers); got != "4" {
			t.Errorf("%s workers without an enabled subscription", got)
		}
	})
}

// A subscription that was captured only after the standby was started does not run either, whether it follows once more or not.
func TestNoSubscriptionRunsOnAStandby(t *testing.T) {
	src := startSource(t, postgrestest.Installations(t)[0], nil)
	l := newLine(t, src)
	start := l.all(t)
	for _, again := range []bool{false, true} {
		in := l.standby(t)
		_, err := followTo(t, in, start)
		check(t, err)
		if !again {
			postgrestest.Exec(t, src.server, "postgres", "CREATE SUBSCRIPTION late CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p WITH (connect = false, slot_name = 'late')")
			postgrestest.Exec(t, src.server, "postgres", "ALTER SUBSCRIPTION late ENABLE")
			l.all(t)
		}
		got, err := followTo(t, in, l.at)
		check(t, err)
		in.Overrides = map[string]string{"max_logical_replication_workers": "0"}
		if again {
			got, err = followTo(t, in, l.at)
			check(t, err)
			if n := postgrestest.Query(t, in.Server, "postgres", "SELECT current_setting('max_logical_replication_workers')"); n != "0" {
				t.Errorf("it follows with %s workers", n)
			}
		}
		attach := restore.AttachInput{Server: in.Server, Superuser: "postgres", SlotName: "next", ReplayFrom: in.ReplayFrom, Overrides: in.Overrides,
			Plan: restore.Plan{Timeline: got.End.Timeline, RecordEnd: got.RecordEnd}, Minimums: got.MaxParameters}
		attached, err := attachNow(t, attach)
		check(t, err)
		checkAttached(t, attach, attached, 2)
		if n := postgrestest.Query(t, in.Server, "postgres", "SELECT current_setting('max_logical_replication_workers')"); n != "0" {
			t.Errorf("promoted with %s workers", n)
		}
	}
}
