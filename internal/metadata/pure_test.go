package metadata

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/smartdr/smartdr/internal/wal"
)

func setting(pairs ...string) (all []Setting) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, Setting{Name: pairs[i], Value: pairs[i+1], Source: "configuration file"})
	}
	return all
}

func libraries(names ...string) map[string]bool {
	all := map[string]bool{}
	for _, n := range names {
		all[n] = true
	}
	return all
}

func TestMap(t *testing.T) {
	readable := func(paths ...string) func(string) bool {
		return func(p string) bool { return libraries(paths...)[p] }
	}
	none := "-" // not overridden
	for name, c := range map[string]struct {
		m     Metadata
		p     Place
		want  map[string]string
		notes []string // parts of notes, in order
	}{
		"the old place is cut off": {
			m: Metadata{Settings: append(setting("archive_mode", "on", "synchronous_standby_names", "*", "recovery_min_apply_delay", "1h"), Setting{Name: "primary_conninfo", Redacted: true, Source: "configuration file"})},
			want: map[string]string{
				"primary_conninfo": "", "restore_command": "", "archive_mode": "off", "synchronous_standby_names": "", "recovery_min_apply_delay": "0",
				"recovery_target_lsn": "", "recovery_target_time": "", "primary_slot_name": "",
			},
			notes: []string{"archive_mode is off here and on", "primary_conninfo is empty here and not captured", "recovery_min_apply_delay is 0 here and 1h", "synchronous_standby_names is empty here and *"},
		},
		"minimums: the larger of what was captured and what the WAL asks for": {
			m:    Metadata{Settings: setting("max_connections", "300", "max_wal_senders", "10", "max_locks_per_transaction", "64")},
			p:    Place{Minimums: wal.Parameters{MaxConnections: 100, MaxWALSenders: 20, MaxWorkerProcesses: 8}},
			want: map[string]string{"max_connections": "300", "max_wal_senders": "20", "max_worker_processes": "8", "max_locks_per_transaction": "64", "max_prepared_transactions": none},
		},
		"a host with enough memory": {
			m:    Metadata{Settings: setting("shared_buffers", "4GB", "huge_pages", "try", "effective_cache_size", "60GB")},
			p:    Place{Host: Host{MemoryBytes: 16 << 30}},
			want: map[string]string{"shared_buffers": none, "huge_pages": none, "effective_cache_size": none},
		},
		"a smaller host": {
			m: Metadata{Settings: setting("shared_buffers", "32GB", "huge_pages", "on", "effective_cache_size", "96GB", "maintenance_work_mem", "2GB", "autovacuum_work_mem", "-1")},
			p: Place{Host: Host{MemoryBytes: 8 << 30}},
			want: map[string]string{
				"shared_buffers": "2048MB", "huge_pages": "try", "effective_cache_size": "4096MB", "maintenance_work_mem": "512MB", "autovacuum_work_mem": none,
			},
			notes: []string{"effective_cache_size is 4096MB", "huge_pages is try here and on", "maintenance_work_mem is 512MB here and 2GB", "shared_buffers is 2048MB here and 32GB on the primary: this host has 8.0 GiB"},
		},
		"a host where buffers would not leave room": {
			m:     Metadata{Settings: setting("wal_buffers", "1GB", "min_dynamic_shared_memory", "4GB", "work_mem", "8GB")},
			p:     Place{Host: Host{MemoryBytes: 8 << 30}},
			want:  map[string]string{"wal_buffers": "512MB", "min_dynamic_shared_memory": "1024MB", "work_mem": none},
			notes: []string{"min_dynamic_shared_memory", "wal_buffers"},
		},
		"io_uring": {
			m: Metadata{Settings: setting("io_method", "io_uring")}, want: map[string]string{"io_method": "worker"}, notes: []string{"io_method"},
		},
		"all libraries are here": {
			m:    Metadata{Settings: setting("shared_preload_libraries", "pg_stat_statements, auto_explain")},
			p:    Place{Host: Host{Libraries: libraries("pg_stat_statements", "auto_explain")}},
			want: map[string]string{"shared_preload_libraries": none},
		},
		"libraries are missing": {
			m: Metadata{Settings: setting("shared_preload_libraries", `pg_stat_statements,"$libdir/timescaledb", pg_cron`, "session_preload_libraries", "pgdr_fenced", "local_preload_libraries", "x")},
			p: Place{Host: Host{Libraries: libraries("pg_stat_statements", "pg_cron", "plugins/x")}},
			want: map[string]string{
				"shared_preload_libraries": `"pg_stat_statements", "pg_cron"`, "session_preload_libraries": "", "local_preload_libraries": none,
			},
			notes: []string{"session_preload_libraries is empty here and pgdr_fenced", "does not have $libdir/timescaledb"},
		},
		"a branch runs no jobs": {
			m:    Metadata{Settings: setting("shared_preload_libraries", "pg_cron, auto_explain")},
			p:    Place{Isolated: true, Host: Host{Libraries: libraries("pg_cron", "auto_explain")}},
			want: map[string]string{"shared_preload_libraries": `"auto_explain"`}, notes: []string{"no jobs"},
		},
		"TLS with its files in the data directory": {
			m:    Metadata{Settings: setting("ssl", "on")},
			p:    Place{Readable: readable("server.crt", "server.key")},
			want: map[string]string{"ssl": none},
		},
		"TLS with files elsewhere": {
			m:     Metadata{Settings: setting("ssl", "on", "ssl_cert_file", "/etc/ssl/certs/db.pem", "ssl_key_file", "/etc/ssl/private/db.key", "ssl_ca_file", "/etc/ca.pem")},
			want:  map[string]string{"ssl": "off", "ssl_ca_file": ""},
			notes: []string{"/etc/ssl/certs/db.pem and /etc/ssl/private/db.key", "/etc/ca.pem"},
		},
		"TLS with a passphrase": {
			m: Metadata{Settings: append(setting("ssl", "on"), Setting{Name: "ssl_passphrase_command", Redacted: true})},
			p: Place{Readable: readable("server.crt", "server.key")}, want: map[string]string{"ssl": "off"}, notes: []string{"passphrase"},
		},
		"TLS that was not built in": {
			m: Metadata{Settings: setting("ssl", "on")}, p: Place{Host: Host{Features: libraries("icu")}}, want: map[string]string{"ssl": "off"}, notes: []string{"built without"},
		},
		"a fence": {
			m: Metadata{Settings: setting("default_transaction_read_only", "on")}, want: map[string]string{"default_transaction_read_only": "off"}, notes: []string{"fence"},
		},
		"no fence": {
			m: Metadata{Settings: setting("default_transaction_read_only", "off")}, want: map[string]string{"default_transaction_read_only": none},
		},
		"a subscriber": {
			m: Metadata{Pipelines: Pipelines{Subscriptions: []Subscription{{Database: "app", Name: "sub", Enabled: true}, {Database: "app", Name: "off"}}}}, want: map[string]string{"max_logical_replication_workers": "0"},
		},
		"what the place decides": {
			m: Metadata{Settings: append(setting("port", "6000", "logging_collector", "on", "listen_addresses", "127.0.0.1"), Setting{Name: "hba_file", Value: "/data/pg_hba.conf", Source: "default"})},
			p: Place{Port: 5433, Listen: "127.0.0.1", HBAFile: "/i/pg_hba.conf"}, want: map[string]string{"port": none, "logging_collector": none},
			notes: []string{"hba_file is /i/pg_hba.conf here and /data/pg_hba.conf", "logging_collector is off here and on", "port is 5433 here and 6000"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			mapping := Map(c.m, c.p)
			got, notes := mapping.CommandLine, mapping.Notes
			for _, d := range mapping.Mapped {
				notes = append(notes, d.String())
			}
			maps.Copy(got, mapping.Here)
			for setting, want := range c.want {
				value, there := got[setting]
				if want == none && there || want != none && (!there || value != want) {
					t.Errorf("%s = %q (overridden: %v), want %q", setting, value, there, want)
				}
			}
			if len(notes) != len(c.notes) {
				t.Fatalf("notes %q, want %q", notes, c.notes)
			}
			for i, part := range c.notes {
				if !strings.Contains(notes[i], part) {
					t.Errorf("note %q does not say %q", notes[i], part)
				}
			}
		})
	}
}

func TestCompare(t *testing.T) {
	fit := Host{
		Major: 16, Extensions: libraries("plpgsql", "postgis"), Libraries: libraries("pg_stat_statements"), Locales: libraries("de_DE.utf8"),
		LibcVersion: "2.36", FreeBytes: 100 << 30, MemoryBytes: 64 << 30, Features: libraries("icu", "lz4"),
	}
	m := Metadata{
		ServerVersion: 160004,
		Settings:      setting("shared_preload_libraries", "pg_stat_statements", "shared_buffers", "8GB", "wal_compression", "lz4"),
		Extensions:    []Extension{{"app", "plpgsql", "1.0"}, {"app", "postgis", "3.4"}, {"geo", "postgis", "3.4"}},
		Databases: []Database{
			{Name: "app", SizeBytes: 10 << 30, Provider: "c", Collate: "de_DE.UTF-8", CType: "de_DE.UTF-8", CollationActual: "2.36"},
			{Name: "geo", SizeBytes: 1 << 30, Provider: "i", Collate: "C.UTF-8", CType: "C", CollationActual: "153.88"},
			{Name: "template1", Template: true, SizeBytes: 7 << 20, Provider: "c", Collate: "xx", CType: "xx"},
		},
		RoleSettings: []RoleSetting{{Name: "work_mem", Role: "r"}},
	}
	if problems := Compare(m, fit, 0); len(problems) > 0 {
		t.Fatalf("a fit host has problems: %v", problems)
	}
	if problems := Compare(m, Host{}, 0); len(problems) > 0 {
		t.Fatalf("a host that nothing is known of has problems: %v", problems)
	}
	for name, c := range map[string]struct {
		change   func(*Host, *Metadata)
		need     int64
		says     []string
		blocking bool
	}{
		"version":             {func(h *Host, _ *Metadata) { h.Major = 15 }, 0, []string{"PostgreSQL 16", "PostgreSQL 15"}, true},
		"extension":           {func(h *Host, _ *Metadata) { delete(h.Extensions, "postgis") }, 0, []string{"postgis", "app, geo", "postgis.control"}, true},
		"library":             {func(h *Host, _ *Metadata) { h.Libraries = libraries("x") }, 0, []string{"pg_stat_statements", "shared_preload_libraries"}, true},
		"library by its path": {func(_ *Host, m *Metadata) { m.Settings = setting("session_preload_libraries", "/opt/x.so") }, 0, []string{"/opt/x.so"}, true},
		"library of a role": {func(_ *Host, m *Metadata) {
			m.RoleSettings = []RoleSetting{{Name: "session_preload_libraries", Role: "bob", Value: "gone"}}
		}, 0, []string{"gone", "role bob"}, false},
		"disk":               {func(h *Host, _ *Metadata) { h.FreeBytes = 12 << 30 }, 0, []string{"12.0 GiB", "12.4 GiB"}, true},
		"disk for a plan":    {func(h *Host, _ *Metadata) { h.FreeBytes = 12 << 30 }, 12 << 30, []string{"13.4 GiB"}, true},
		"locale":             {func(h *Host, _ *Metadata) { h.Locales = libraries("en_US.utf8") }, 0, []string{"de_DE.UTF-8", "app"}, true},
		"another glibc":      {func(h *Host, _ *Metadata) { h.LibcVersion = "2.41" }, 0, []string{"app", "2.36", "2.41", "REINDEX"}, false},
		"memory":             {func(h *Host, _ *Metadata) { h.MemoryBytes = 4 << 30 }, 0, []string{"8GB", "4.0 GiB", "1024MB"}, false},
		"compression of WAL": {func(h *Host, _ *Metadata) { h.Features = libraries("icu") }, 0, []string{"lz4", "wal_compression"}, true},
		"no ICU":             {func(h *Host, _ *Metadata) { h.Features = libraries("lz4") }, 0, []string{"icu", "geo"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			h, m := fit, m
			h.Extensions = libraries("plpgsql", "postgis")
			c.change(&h, &m)
			problems := Compare(m, h, c.need)
			if len(problems) != 1 || problems[0].Blocking != c.blocking || problems[0].Todo == "" {
				t.Fatalf("got %+v", problems)
			}
			for _, part := range c.says {
				if !strings.Contains(problems[0].String(), part) {
					t.Errorf("%q does not say %q", problems[0], part)
				}
			}
		})
	}
}

func TestHBA(t *testing.T) {
	rule := func(r HBARule) HBARule {
		if r.Databases == nil {
			r.Databases = []string{"all"}
		}
		if r.Users == nil {
			r.Users = []string{"all"}
		}
		return r
	}
	for name, c := range map[string]struct {
		rule HBARule
		line string
		note string
	}{
		"plain":     {HBARule{Type: "host", Databases: []string{"app", "shop"}, Users: []string{"alice"}, Address: "10.0.0.0", Netmask: "255.0.0.0", Method: "scram-sha-256"}, "host app,shop alice 10.0.0.0 255.0.0.0 scram-sha-256", ""},
		"local":     {HBARule{Type: "local", Method: "peer"}, "local all all peer", ""},
		"a host":    {HBARule{Type: "hostssl", Databases: []string{"replication"}, Address: ".example.com", Method: "cert", Options: []string{"clientcert=verify-full", "map=m"}}, "hostssl replication all .example.com cert clientcert=verify-full map=m", ""},
		"IPv6":      {HBARule{Type: "host", Address: "::1", Netmask: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Method: "md5"}, "host all all ::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff md5", ""},
		"quotes":    {HBARule{Type: "local", Databases: []string{`my "db"`}, Users: []string{"a b"}, Method: "md5"}, `local "my ""db""" "a b" md5`, ""},
		"members":   {HBARule{Type: "local", Users: []string{"+my role", "+ops"}, Method: "md5"}, `local all +"my role",+ops md5`, ""},
		"a pattern": {HBARule{Type: "local", Users: []string{`/^a,b$`}, Method: "md5"}, `local all "/^a,b$" md5`, ""},
		"a comment": {HBARule{Type: "local", Users: []string{`#1`, `@x`}, Method: "md5"}, `local all "#1","@x" md5`, ""},
		"a secret":  {HBARule{Type: "host", Address: "all", Method: "ldap", Options: []string{"ldapserver=l"}, Redacted: true}, "host all all all reject", "secret"},
		"not built in": {
			HBARule{Type: "host", Address: "all", Method: "gss", Options: []string{"include_realm=0"}}, "host all all all reject", "without gss"},
		"encrypted by GSSAPI": {HBARule{Type: "hostgssenc", Address: "all", Method: "md5"}, "host all all all reject", "without md5"},
		"needs the host":      {HBARule{Type: "host", Address: "samehost", Method: "ident"}, "host all all samehost ident", "may not be there"},
		"our own control":     {HBARule{Type: "local", Users: []string{"postgres"}, Method: "peer", Options: []string{"map=smartdr"}}, "", ""},
		"database replication": {
			HBARule{Type: "host", Databases: []string{"same role", "all"}, Address: "all", Method: "trust"}, `host "same role",all all all trust`, ""},
		"named like a keyword": {HBARule{Type: "host", Databases: []string{"sameuser"}, Address: "all", Method: "trust"}, "", "keyword"},
	} {
		t.Run(name, func(t *testing.T) {
			m := Metadata{HBAKnown: true, HBA: []HBARule{rule(c.rule), rule(c.rule)}, Databases: []Database{{Name: "sameuser"}}}
			text, notes, err := HBA(m, Place{Host: Host{Features: libraries("openssl")}})
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			if c.line != "" {
				want = c.line + "\n"
			}
			_, body, _ := strings.Cut(text, "\n")
			if diff := cmp.Diff(want, body); diff != "" {
				t.Error(diff)
			}
			if (c.note == "") != (len(notes) == 0) || c.note != "" && !strings.Contains(notes[0].String(), c.note) {
				t.Errorf("notes %q, want one that says %q", notes, c.note)
			}
		})
	}
	text, notes, err := HBA(Metadata{}, Place{})
	if !strings.Contains(text, "samenet scram-sha-256") || strings.Contains(text, "trust") || len(notes) != 1 || err != nil {
		t.Errorf("without knowing the primary's rules: %s%q", text, notes)
	}
}

func TestIdent(t *testing.T) {
	got := Ident(Metadata{Ident: []IdentMapping{{"m", "/^(.*)@x$", `\1`}, {"smartdr", "root", "postgres"}, {"m", "a b", "c"}}})
	if diff := cmp.Diff("m \"/^(.*)@x$\" \"\\1\"\nm \"a b\" c\n", got); diff != "" {
		t.Error(diff)
	}
}

func TestSecretsAreRecognised(t *testing.T) {
	for name, secret := range map[string]bool{
		"primary_conninfo=host=a password=b": true, "archive_command=aws s3 cp": true, "ssl_passphrase_command=cat x": true, "ssl_passphrase_command=": false,
		"password_encryption=scram-sha-256": false, "ssl_key_file=server.key": false, "app.jwt_secret=x": true, "app.settings.api_key=x": true, "app.token=x": true,
		"app.greeting=hello": false, "app.url=https://bob:pw@host/": true, "app.url=https://host/": false, "pg_stat_statements.track=all": false,
		"timescaledb.license=x": false, "pgaudit.log=all": false, "krb_server_keyfile=/etc/x": false, "pgsodium.getkey_script=/x": false, "vault.key=x": true,
		"log_line_prefix=%m": false, "app.db=postgres://u:p@h/d": true, "cluster_name=password=x": true,
	} {
		n, v, _ := strings.Cut(name, "=")
		if got := isSecret(n, v); got != secret {
			t.Errorf("isSecret(%q, %q) = %v", n, v, got)
		}
	}
}

func TestLists(t *testing.T) {
	for value, want := range map[string][]string{
		"": nil, "a": {"a"}, " a , b ": {"a", "b"}, `"a,b", c`: {"a,b", "c"}, `"a""b"`: {`a"b`}, `"a" , `: {"a"}, `"open`: {"open"}, ",,a": {"a"},
	} {
		if diff := cmp.Diff(want, splitList(value)); diff != "" {
			t.Errorf("%q: %s", value, diff)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		items := rapid.SliceOf(rapid.StringMatching(`[a-z"$/ ,]{1,8}`)).Draw(t, "items")
		got := splitList(joinList(items))
		if len(items) != len(got) || len(items) > 0 && !cmp.Equal(items, got) {
			t.Fatalf("%q became %q", items, got)
		}
	})
}

func TestSizes(t *testing.T) {
	for s, want := range map[string]int64{"8kB": 8192, "128MB": 128 << 20, "4GB": 4 << 30, "1TB": 1 << 40, "16B": 16, "-1": -1, "": -1, "12": -1, "99999999TB": -1} {
		got, ok := parseSize(s)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("parseSize(%q) = %d, %v", s, got, ok)
		}
	}
}

func FuzzSplitList(f *testing.F) {
	f.Add(`a, "b""c",`)
	f.Fuzz(func(t *testing.T, s string) {
		for _, item := range splitList(s) {
			if item == "" {
				t.Errorf("%q has an empty item", s)
			}
		}
	})
}
