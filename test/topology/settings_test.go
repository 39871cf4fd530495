package topology_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

// mainSettings are given to the adopted server on its command line, as a container's are.
var mainSettings = map[string]string{
	"wal_level": "logical", "max_prepared_transactions": "10", "max_connections": "60", "vacuum_cost_limit": "321",
}

// createSettings writes into postgresql.conf, a folder that it includes, and postgresql.auto.conf.
func (w *world) createSettings() {
	w.t.Helper()
	p := w.space(mainSpace).was
	w.configure(p, "conf.d/10-app.conf", "statement_timeout = '55s'\nmaintenance_work_mem = '33MB'\n")
	w.configure(p, "postgresql.conf", "work_mem = '7MB'\napp.tenant = 'acme, \"inc\"'\ndeadlock_timeout = '2s'\ninclude_dir = 'conf.d'\n")
	w.run(p, "postgres", "alter system set random_page_cost = 1.3", "alter system set cursor_tuple_fraction = 0.5", "select pg_reload_conf()")
}

// changeSettings changes all of them once the snapshot is taken, and one of another workspace.
func (w *world) changeSettings() {
	w.t.Helper()
	p := w.space(mainSpace).was
	w.configure(p, "conf.d/20-late.conf", "statement_timeout = '44s'\nlog_lock_waits = on\n")
	w.configure(p, "postgresql.conf", "work_mem = '9MB'\napp.region = 'west'\n")
	w.run(p, "postgres", "alter system reset random_page_cost", "alter system set cursor_tuple_fraction = 0.25",
		"alter system set log_min_duration_statement = '1234ms'", "select pg_reload_conf()")
	w.run(w.space(ordersSpace).was, "postgres", "alter system set autovacuum_naptime = '77s'", "select pg_reload_conf()")
}

// configure appends to a configuration file in the data directory, and makes it if need be.
func (w *world) configure(p *postgres.Server, file, text string) {
	w.t.Helper()
	path := filepath.Join(p.DataDir, file)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		var f *os.File
		if f, err = os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
			_, err = f.WriteString(text)
			err = errors.Join(err, f.Close(), p.Own(filepath.Dir(path)), p.Own(path))
		}
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// settings returns all settings of a server as a new session has them.
func (w *world) settings(s *postgres.Server) map[string]string {
	w.t.Helper()
	// By the socket, and without what Open sets.
	conn, err := postgres.Open(w.t.Context(), s.Source("postgres"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(w.t.Context()) //nolint:errcheck // only read from
	// Placeholders are not in pg_settings.
	rows, err := conn.Query(w.t.Context(), `select name, setting from pg_settings
		union all select n, coalesce(current_setting(n, true), '') from unnest('{app.tenant,app.region}'::text[]) n`)
	if err != nil {
		w.t.Fatal(err)
	}
	all := map[string]string{}
	var name, value string
	if _, err := pgx.ForEachRow(rows, []any{&name, &value}, func() error { all[name] = value; return nil }); err != nil {
		w.t.Fatal(err)
	}
	return all
}

// checkSettings compares every setting. One that differs must be in the account; the others are as they were.
func (w *world) checkSettings(op topology.Operation) {
	for _, s := range w.spaces {
		notes := recovered(w.t, op, s.name).Notes
		now := w.settings(s.is)
		for name, then := range s.settings {
			if now[name] == then {
				continue
			}
			told := slices.ContainsFunc(notes, func(n string) bool { return mentions(n, name) })
			if told && !carried[name] {
				continue
			}
			w.t.Errorf("%s: %s was %q and is %q; in the account: %t", s.name, name, then, now[name], told)
		}
		for name, value := range now {
			if _, there := s.settings[name]; !there {
				w.t.Errorf("%s: %s was not there and is %q", s.name, name, value)
			}
		}
	}
}

// carried are settings that have nothing to do with a place: no note excuses them.
var carried = set("statement_timeout", "maintenance_work_mem", "work_mem", "app.tenant", "app.region", "deadlock_timeout", "random_page_cost",
	"cursor_tuple_fraction", "log_lock_waits", "log_min_duration_statement", "autovacuum_naptime", "vacuum_cost_limit", "wal_level",
	"max_connections", "max_prepared_transactions", "data_checksums", "wal_segment_size")

func set(names ...string) map[string]bool {
	all := map[string]bool{}
	for _, n := range names {
		all[n] = true
	}
	return all
}

// mentions reports whether a sentence has name as a word, also behind the name of its database or schema.
func mentions(sentence, name string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(sentence, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-", r)
	}), func(word string) bool { return strings.HasSuffix("."+strings.TrimRight(word, "."), "."+name) })
}

// told fails the test unless a workspace's account mentions each of the words.
func (w *world) told(op topology.Operation, name string, words ...string) {
	w.t.Helper()
	notes := recovered(w.t, op, name).Notes
	for _, word := range words {
		if !slices.ContainsFunc(notes, func(n string) bool { return mentions(n, word) }) {
			w.t.Errorf("%s: the account does not speak of %q:\n%s", name, word, strings.Join(notes, "\n"))
		}
	}
}
