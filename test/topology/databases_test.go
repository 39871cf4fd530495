package topology_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/topology"
)

// Databases of the adopted server besides the shop.
const (
	archiveDB = "archive" // big, and never replicated
	crmDB     = "crm"     // replicated from some time on
	oldDB     = "old"     // replicated until some time
	umlautDB  = "umlaut"  // of workspace reports

	archiveBytes = 40 << 20
)

// leftOut are the databases of a workspace that are absent after a failover.
var leftOut = map[string][]string{mainSpace: {archiveDB, oldDB}}

// chosen are the databases that replication begins with.
var chosen = []string{bankDB, mainSpace + "/" + shopDB, oldDB, umlautDB}

func (w *world) createDatabases() {
	w.t.Helper()
	s := w.space(mainSpace).was
	w.run(s, "postgres", "create database "+archiveDB, "create database "+crmDB+" owner app", "create database "+oldDB)
	w.run(s, archiveDB, `create table pages as select g as id, (select string_agg(md5(g::text || n), '') from generate_series(1, 31) n) as body
		from generate_series(1, 40000) g`)
	w.run(s, crmDB, "create table people as select g as id, md5(g::text) as name from generate_series(1, 5000) g", "alter table people owner to app")
	w.run(s, oldDB, "create table things as select generate_series(1, 100) as id")
	// So that what was written until now is not in the WAL that is shipped.
	w.run(s, "postgres", "checkpoint", "select pg_switch_wal()", "checkpoint")
}

// changeDatabases changes the choice while replication runs.
func (w *world) changeDatabases() {
	w.t.Helper()
	w.smartdr("databases", "remove", "--group", group, oldDB)
	w.smartdr("databases", "add", "--group", group, mainSpace+"/"+crmDB)
	devtest.Until(w.t, "the database that was added to be in the secondary's bucket", func() bool {
		st, err := w.status()
		for _, ws := range st.Workspaces {
			if slices.ContainsFunc(ws.Databases, func(d topology.DatabaseStatus) bool { return d.Database == crmDB && d.State == topology.Active }) {
				return err == nil
			}
		}
		return false
	})
	w.run(w.space(mainSpace).was, crmDB, "insert into people values (9999, 'late')")
}

func (w *world) checkDatabases(op topology.Operation) {
	s := w.space(mainSpace).is
	var there []string
	w.scan(s, "postgres", `select array_agg(datname::text order by datname) from pg_database where not datistemplate`, &there)
	if want := []string{bankDB, crmDB, "postgres", shopDB}; !slices.Equal(there, want) {
		w.t.Errorf("the databases are %v, want %v", there, want)
	}
	var n int
	w.scan(s, crmDB, "select count(*) from people", &n)
	if n != 5001 {
		w.t.Errorf("the database that was added has %d people, want 5001", n)
	}
	w.told(op, mainSpace, archiveDB, oldDB)
	if stored := w.storedPacks(); stored > archiveBytes*3/4 {
		w.t.Errorf("snapshots take %d bytes of the secondary's bucket, and the database that was left out has %d: it was not left out", stored, archiveBytes)
	}
}

// storedPacks returns the size of all chunks of snapshots in the secondary's bucket.
func (w *world) storedPacks() (n int64) {
	w.t.Helper()
	err := filepath.WalkDir(w.env.Regions[devenv.Secondary].Gateway.DataDir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".pack") {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.t.Fatal(err)
	}
	return n
}
