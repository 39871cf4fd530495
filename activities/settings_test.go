package activities

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// copiedServer is a data directory as a snapshot brings it, which no server was started in.
func copiedServer(t *testing.T) *postgres.Server {
	t.Helper()
	account, err := postgres.DefaultAccount()
	check(t, err)
	s := &postgres.Server{DataDir: filepath.Join(postgrestest.TempDir(t), "data"), Account: account}
	check(t, os.MkdirAll(filepath.Join(s.DataDir, "conf.d"), 0o755))
	for name, text := range map[string]string{
		"postgresql.conf": "work_mem = 4MB\ninclude_dir 'conf.d'\n", "conf.d/a.conf": "geqo = off\njit = off\n", "postgresql.auto.conf": "seq_page_cost = '2'\n",
	} {
		check(t, os.WriteFile(filepath.Join(s.DataDir, name), []byte(text), 0o600))
	}
	return s
}

var newer = metadata.Metadata{FilesKnown: true, FileSettings: []metadata.FileSetting{
	{Name: "work_mem", Value: "9MB", Kind: metadata.InFile}, {Name: "jit", Value: "off", Kind: metadata.InFile}, {Name: "huge_pages", Value: "on", Kind: metadata.ByAlterSystem},
}, Settings: []metadata.Setting{{Name: "huge_pages", Value: "on", Source: "configuration file"}}}

func filesIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	check(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			all[path] = readFile(t, path)
		}
		return err
	}))
	return all
}

// TestSettingsAreWrittenOnce: what was killed half way is written again and comes to the same; what is done is left alone, since
// users change it.
func TestSettingsAreWrittenOnce(t *testing.T) {
	target := &Target{}
	s := copiedServer(t)
	mapping, err := target.settings(s, newer, metadata.Place{})
	check(t, err)
	if len(mapping.Mapped) != 1 || mapping.Here["huge_pages"] != "try" || !strings.Contains(mapping.Mapped[0].String(), "huge_pages is try here and on on the primary") {
		t.Errorf("mapped: %+v", mapping)
	}
	done := filesIn(t, s.DataDir)
	for name, says := range map[string]string{"postgresql.conf": "work_mem = '9MB'\n", "conf.d/a.conf": "geqo = off\njit = off\n", "smartdr.conf": "huge_pages = 'try'\n"} {
		path := filepath.Join(s.DataDir, name)
		if !strings.Contains(done[path], says) {
			t.Errorf("%s: %s", name, done[path])
		}
		if info, err := os.Stat(path); err != nil || s.Account != nil && name != "conf.d/a.conf" && info.Sys().(*syscall.Stat_t).Uid != s.Account.UID {
			t.Errorf("%s is not the server's: %v", name, err)
		}
	}
	state := filepath.Join(s.InstanceDir(), settingsFile)
	for name := range done { // as if only the others had been written when the worker died
		check(t, os.Remove(state))
		again := copiedServer(t)
		for other, text := range done {
			if other != name {
				check(t, os.WriteFile(filepath.Join(again.DataDir, strings.TrimPrefix(other, s.DataDir)), []byte(text), 0o600))
			}
		}
		_, err := target.settings(again, newer, metadata.Place{})
		check(t, err)
		now := map[string]string{}
		for path, text := range filesIn(t, again.DataDir) {
			now[strings.Replace(path, again.DataDir, s.DataDir, 1)] = text
		}
		if diff := cmp.Diff(done, now); diff != "" {
			t.Errorf("killed before %s was written:\n%s", name, diff)
		}
		state = filepath.Join(again.InstanceDir(), settingsFile)
	}
	auto := filepath.Join(s.DataDir, "postgresql.auto.conf")
	check(t, writeState(s.InstanceDir(), settingsFile, mapping))
	check(t, os.WriteFile(auto, []byte("work_mem = '1MB'\n"), 0o600))
	left, err := target.settings(s, newer, metadata.Place{})
	check(t, err)
	if readFile(t, auto) != "work_mem = '1MB'\n" || !cmp.Equal(left, mapping) {
		t.Errorf("what was done is done again: %+v, %s", left, readFile(t, auto))
	}
}

// TestRecoverySettingsGo: what a server was started with for its recovery is taken from its description, and what is in force
// otherwise than on the primary is said once.
func TestRecoverySettingsGo(t *testing.T) {
	w := newWorld(t)
	target, s, _ := attachedServer(t, w)
	postgrestest.Exec(t, s, "postgres", "alter system set work_mem = '7MB'")
	postgrestest.Exec(t, s, "postgres", "alter system set seq_page_cost = 3")
	s.Settings = map[string]string{"max_connections": "200", "archive_mode": "off", "max_logical_replication_workers": "0", "wal_keep_size": "64MB", "fsync": "off"}
	check(t, s.Stop(t.Context(), postgres.Fast))
	check(t, s.Save())
	check(t, s.Start(t.Context()))
	check(t, writeState(s.InstanceDir(), settingsFile, metadata.Mapping{Mapped: []metadata.SettingDifference{{Name: "seq_page_cost", Here: "3", Why: "told already"}}}))
	m := metadata.Metadata{FilesKnown: true, Settings: []metadata.Setting{
		{Name: "work_mem", Value: "6MB", Source: "configuration file"}, {Name: "seq_page_cost", Value: "2", Source: "configuration file"},
		{Name: "max_connections", Value: "100", Source: "default"}, {Name: "app.x", Value: "y", Source: "configuration file"},
	}}
	for range 2 { // a worker that dies does it again
		check(t, release(s))
		notes, err := target.compareSettings(t.Context(), s, m)
		check(t, err)
		for _, part := range []string{"work_mem is 7MB here and 6MB", "app.x is not set here and y", "from the server's next start on: max_logical_replication_workers, wal_keep_size"} {
			if !slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, part) }) {
				t.Errorf("%q is not said: %q", part, notes)
			}
		}
		if strings.Contains(strings.Join(notes, ""), "seq_page_cost") {
			t.Errorf("said twice: %q", notes)
		}
	}
	again, err := postgres.Load(s.InstanceDir())
	if err != nil || !cmp.Equal(again.Settings, map[string]string{"max_logical_replication_workers": "0"}) {
		t.Errorf("the next start has %v, %v", again.Settings, err)
	}
}

// TestNobodyGetsInBeforeTheEnd: whatever fails on the way, the server is as private as before.
func TestNobodyGetsInBeforeTheEnd(t *testing.T) {
	w := newWorld(t)
	target, s, o := attachedServer(t, w)
	check(t, s.WriteHBA(""))
	check(t, follow(t.Context(), s))
	private := readFile(t, s.HBAFile())
	in := RestoreInput{Group: o.Group, To: "west", Operation: o.Operation, Epoch: o.Epoch, Plan: WorkspacePlan{Workspace: "main"}, Place: Place{Instance: s.InstanceDir()}}
	for name, broken := range map[string]func() func(){
		"no bucket answers": func() func() {
			gone := objectstore.Rule{Fail: fault.Newf(fault.Transient, "get", "no route to host")}
			east, west := w.faults["east"].Add(gone), w.faults["west"].Add(gone)
			return func() { east(); west() }
		},
		"a state file is damaged": func() func() {
			path := filepath.Join(s.InstanceDir(), settingsFile)
			check(t, os.WriteFile(path, []byte("{"), 0o600))
			return func() { check(t, os.Remove(path)) }
		},
	} {
		repair := broken()
		if _, err := target.restoreMetadata(t.Context(), in); err == nil {
			t.Errorf("%s: it went well", name)
		}
		if now := readFile(t, s.HBAFile()); now != private {
			t.Errorf("%s: others get in: %s", name, now)
		}
		repair()
	}
	for range 2 {
		_, err := as(t, target.RestoreMetadata, in)
		check(t, err)
		if now := readFile(t, s.HBAFile()); now == private {
			t.Error("nobody was let in")
		}
		if _, err := os.Stat(s.HBAFile() + keptSuffix); !errors.Is(err, fs.ErrNotExist) {
			t.Error("the rules before were left behind")
		}
	}
}
