package activities

import (
	"context"
	"strings"
	"testing"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/fence"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
)

// No snapshot is begun of a server that is fenced, as its record says or the server itself; it is when the fence is lifted.
func TestNoSnapshotOfAFencedServer(t *testing.T) {
	w, source, server := replicated(t)
	loaded, err := w.Catalog.Load(t.Context(), "prod")
	check(t, err)
	in := FenceInput{Group: "prod", Workspace: "main", Lineage: loaded.Group.Workspaces[0].Lineage, Operation: "op-1", Before: true}
	take := func() error {
		_, err := as(t, source.TakeSnapshot, TakeSnapshotInput{SourceInput: main1, MaxAgeSeconds: 3600})
		return err
	}
	refused := func(what string) {
		t.Helper()
		if err := take(); typeOf(err) != string(fault.Transient) || !strings.Contains(err.Error(), "fenced") {
			t.Errorf("%s: %v", what, err)
		}
	}
	f := topology.Fence{Group: "prod", Workspace: "main", Lineage: in.Lineage, Region: "east", Epoch: 1, State: topology.FenceHolding, Operation: "op-0"}
	_, err = w.Catalog.PutFence(t.Context(), f) // the worker was killed before it set anything
	check(t, err)
	refused("by its record")
	f.State = topology.FenceLifted
	_, err = w.Catalog.PutFence(t.Context(), f)
	check(t, err)
	o := fence.Options{Lineage: topology.Lineage{ID: in.Lineage}, By: "somebody"}
	r, err := fence.Apply(t.Context(), server.Source("postgres"), o)
	check(t, err)
	r.Close(t.Context())
	refused("by what is set on it")
	_, err = fence.Lift(t.Context(), server.Source("postgres"), o)
	check(t, err)
	if !takes(t, source) {
		t.Error("nothing was taken after the fence")
	}
}

// A copy that was being made while its server was fenced comes up as the server was before, also where the capture could not read
// the primary's files.
func TestACopyOfAFencedServerComesUpWithoutTheFence(t *testing.T) {
	primary := startServer(t)
	for _, set := range []string{"session_preload_libraries = 'plpgsql', '$libdir/plpgsql'", "geqo = off", `application_name = E'it''s \\ "mine"'`} {
		postgrestest.Exec(t, primary, "postgres", "ALTER SYSTEM SET "+set)
	}
	postgrestest.Exec(t, primary, "postgres", "SELECT pg_reload_conf()")
	conn := postgrestest.Open(t, primary, "postgres")
	m, err := metadata.Capture(t.Context(), conn)
	check(t, err)
	check(t, conn.Close(t.Context()))
	o := fence.Options{Lineage: topology.Lineage{ID: "0001-aaaaaaaa"}, By: "op-1", ForGood: true}
	r, err := fence.Apply(t.Context(), primary.Source("postgres"), o)
	check(t, err)
	r.Close(context.Background())
	check(t, primary.Stop(t.Context(), postgres.Fast))
	unread := m
	unread.FilesKnown, unread.FileSettings, unread.Settings = false, nil, nil
	for name, m := range map[string]metadata.Metadata{"captured by a superuser": m, "captured without its files": unread} {
		t.Run(name, func(t *testing.T) {
			s := postgrestest.Copy(t, primary)
			_, err := (&Target{}).settings(s, m, metadata.Place{DataDir: s.DataDir, Port: s.Port, Listen: s.Listen, SocketDir: s.SocketDir})
			check(t, err)
			check(t, s.Start(t.Context()))
			show := func(expression, want string) {
				t.Helper()
				if got := postgrestest.Query(t, s, "postgres", "SELECT "+expression); got != want {
					t.Errorf("%s is %q, want %q", expression, got, want)
				}
			}
			show("count(*) FROM pg_file_settings WHERE setting LIKE '%smartdr_fenced%' OR name = 'smartdr.fence'", "0")
			show("setting FROM pg_file_settings WHERE name = 'session_preload_libraries'", `plpgsql, "$libdir/plpgsql"`)
			show("reset_val FROM pg_settings WHERE name = 'default_transaction_read_only'", "off")
			show("coalesce(current_setting('smartdr.fence', true), '')", "")
			show("setting FROM pg_settings WHERE name = 'wal_retrieve_retry_interval'", "5000")
			show("setting FROM pg_settings WHERE name = 'max_logical_replication_workers'", "4")
			show("reset_val FROM pg_settings WHERE name = 'geqo'", "off")
			postgrestest.Exec(t, s, "postgres", "CREATE TABLE written (n int)")
		})
	}
}
