package metadata_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// restoreSettings does with a copy what a failover does before its first start.
func restoreSettings(t *testing.T, s *postgres.Server, m metadata.Metadata, place metadata.Place) metadata.Mapping {
	t.Helper()
	plan, err := metadata.PlanSettings(m, place, os.DirFS(s.DataDir))
	postgrestest.Check(t, err)
	for name, text := range plan.Files {
		write(t, s, name, text)
	}
	return plan.Mapping
}

func write(t *testing.T, s *postgres.Server, name, text string) {
	t.Helper()
	path := filepath.Join(s.DataDir, name)
	postgrestest.Check(t, os.MkdirAll(filepath.Dir(path), 0o700))
	postgrestest.Check(t, os.WriteFile(path, []byte(text), 0o600))
	postgrestest.Check(t, s.OwnTree(filepath.Dir(path)))
}

func captureSettings(t *testing.T, s *postgres.Server) metadata.Metadata {
	t.Helper()
	conn := postgrestest.Open(t, s, "postgres")
	defer conn.Close(context.Background())
	m, err := metadata.CaptureSettings(t.Context(), conn)
	postgrestest.Check(t, err)
	return m
}

// The settings of the primary after the snapshot was taken, in every place that has any.
var (
	inMain = map[string]string{
		"work_mem": "5MB", "maintenance_work_mem": "65MB", "random_page_cost": "1.3", "log_timezone": "Europe/Berlin", "timezone": "Asia/Tokyo", "datestyle": "iso, dmy",
		"max_connections": "77", "shared_buffers": "40MB", "wal_buffers": "3MB", "max_locks_per_transaction": "91", "track_commit_timestamp": "on",
		"myapp.greeting": "it's a \\ 'test' # no comment", "MyApp.CamelCase": "yes", "pg_stat_statements.max": "1234", "plan_cache_mode": "force_custom_plan",
		"log_min_duration_statement": "3s", "statement_timeout": "123s", "search_path": `"$user", public, other`, "cluster_name": "berlin", "port": "6543",
		"myapp.api_key": "new secret", "default_statistics_target": "99",
	}
	inIncluded    = map[string]string{"seq_page_cost": "1.2", "cpu_tuple_cost": "0.02", "autovacuum_naptime": "17s", "max_worker_processes": "11", "myapp.included": "here"}
	byAlterSystem = map[string]string{
		"effective_cache_size": "7GB", "jit": "off", "wal_keep_size": "160MB", "checkpoint_timeout": "11min", "max_wal_senders": "13", "log_line_prefix": "%t ", "work_mem": "6MB",
		"synchronous_standby_names": "", "old_snapshot": "", "log_min_messages": "error", "log_checkpoints": "off", "huge_pages": "on",
	}
)

func confOf(settings map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "%s = '%s'\n", name, strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(settings[name]))
	}
	return b.String()
}

// TestNewestSettingsAreInForce changes settings everywhere after a copy was taken of a server, and restores the copy. What is
// otherwise then is listed, with a reason, and nothing else is otherwise.
func TestNewestSettingsAreInForce(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		primary := postgrestest.Start(t, bin, map[string]string{"shared_buffers": "40MB"})
		ctx := t.Context()
		postgrestest.Check(t, primary.Stop(ctx, postgres.Fast))
		write(t, primary, "postgresql.conf", "work_mem = 4MB\nmyapp.api_key = 'old secret'\nenable_seqscan = off\ninclude_dir 'conf.d'\nmaintenance_work_mem = 65MB\nmax_connections = 200\n")
		write(t, primary, "conf.d/a.conf", "seq_page_cost = 3\ncpu_index_tuple_cost = 0.1\n")
		postgrestest.Check(t, primary.Start(ctx))
		postgrestest.Exec(t, primary, "postgres", "alter system set geqo = off")
		postgrestest.Check(t, primary.Stop(ctx, postgres.Fast))
		restored := postgrestest.Copy(t, primary) // the snapshot
		changeEverything(t, primary)
		m := captureSettings(t, primary)
		host := metadata.Host{Major: bin.Major(), MemoryBytes: 1 << 30}
		mapping := restoreSettings(t, restored, m, metadata.Place{DataDir: restored.DataDir, Port: restored.Port, Listen: restored.Listen, SocketDir: restored.SocketDir, Host: host})
		maps.Copy(mapping.CommandLine, map[string]string{"fsync": "off", "log_min_messages": "warning"}) // as package restore does
		restored.Settings = mapping.CommandLine
		postgrestest.Check(t, restored.Start(ctx))
		checkDifferences(t, metadata.CompareSettings(m, captureSettings(t, restored), mapping.Mapped), "huge_pages", "log_min_messages")
		t.Log(mapping.Mapped)

		// From the next start on nothing of the recovery holds.
		postgrestest.Check(t, restored.Stop(ctx, postgres.Fast))
		restored.Settings = map[string]string{"fsync": "off"}
		postgrestest.Check(t, restored.Start(ctx))
		checkDifferences(t, metadata.CompareSettings(m, captureSettings(t, restored), mapping.Mapped), "huge_pages")
		wantSettings(t, restored, map[string]string{
			"work_mem": "6MB", "max_connections": "77", "myapp.api_key": "old secret", "enable_seqscan": "on", "geqo": "on", "cpu_index_tuple_cost": "0.005",
			"myapp.greeting": inMain["myapp.greeting"], "huge_pages": "try", "log_min_messages": "error", "seq_page_cost": "1.2",
		})
		decideAnew(t, restored)
	})
}

func changeEverything(t *testing.T, s *postgres.Server) {
	t.Helper()
	extra := "include 'conf.d/extra/late.conf'\n"
	write(t, s, "postgresql.conf", confOf(inMain)+"myapp.twice = 1\nmyapp.twice = 2\ninclude_dir = 'conf.d'\n"+extra)
	write(t, s, "conf.d/a.conf", confOf(inIncluded))
	write(t, s, "conf.d/extra/late.conf", "default_statistics_target = 98\n")
	postgrestest.Check(t, s.OwnTree(s.DataDir))
	delete(s.Settings, "shared_buffers")
	postgrestest.Check(t, s.Start(t.Context()))
	conn := postgrestest.Open(t, s, "postgres")
	defer conn.Close(context.Background())
	exec := func(sql string) {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	exec("alter system reset geqo")
	for name, value := range byAlterSystem {
		if name != "old_snapshot" && name != "huge_pages" {
			exec(fmt.Sprintf("alter system set %s = '%s'", name, value))
		}
	}
	exec("alter system set huge_pages = 'on'") // waits for a restart, which this machine would not survive
	postgrestest.Check(t, s.Reload(t.Context()))
	devtest.Until(t, "the primary follows its files", func() bool { return postgrestest.Query(t, s, "postgres", "current_setting('jit')") == "off" })
}

func checkDifferences(t *testing.T, all []metadata.SettingDifference, want ...string) {
	t.Helper()
	for _, d := range all {
		if !slices.Contains(want, d.Name) || d.Why == "" {
			t.Errorf("%s", d)
		}
	}
}

func wantSettings(t *testing.T, s *postgres.Server, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got := postgrestest.Query(t, s, "postgres", fmt.Sprintf("current_setting('%s')", name)); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
}

// decideAnew: ALTER SYSTEM and the files decide on the restored server, as they do on any.
func decideAnew(t *testing.T, s *postgres.Server) {
	t.Helper()
	for _, sql := range []string{"alter system set huge_pages = off", "alter system reset work_mem", "alter system set max_connections = 55", "alter system set archive_mode = on"} {
		postgrestest.Exec(t, s, "postgres", sql)
	}
	b, err := os.ReadFile(filepath.Join(s.DataDir, "postgresql.conf"))
	postgrestest.Check(t, err)
	write(t, s, "postgresql.conf", strings.Replace(string(b), "random_page_cost = '1.3'", "random_page_cost = 9", 1))
	postgrestest.Check(t, s.Stop(t.Context(), postgres.Fast))
	postgrestest.Check(t, s.Start(t.Context()))
	wantSettings(t, s, map[string]string{"huge_pages": "off", "work_mem": "5MB", "max_connections": "55", "random_page_cost": "9", "archive_mode": "on"})
}
