package topology_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/topology"
)

// createPhysical makes what is no ordinary row of an ordinary table.
func (w *world) createPhysical() {
	w.t.Helper()
	p := w.space(mainSpace).was
	w.createTablespace("fast", "owner shop_owner", "with (random_page_cost = 1.1)")
	w.run(p, "postgres", "grant create on tablespace fast to app")
	w.run(p, shopDB,
		"create table sales.archive tablespace fast as select g as id, repeat(md5(g::text), 4) as body from generate_series(1, 3000) g",
		"create index orders_placed on sales.orders (placed) tablespace fast",
		"select lo_from_bytea(70001, decode(repeat('c0ffee', 100000), 'hex')), lo_from_bytea(70002, ''), lo_from_bytea(70003, 'x')",
		"alter large object 70001 owner to app", "grant select on large object 70001 to readers", "comment on large object 70001 is 'coffee'",
		"create unlogged table sales.cache as select g as id from generate_series(1, 1000) g", "create unlogged sequence sales.ticket",
		"select nextval('sales.ticket')",
		"begin; insert into sales.paid values (1); prepare transaction 'order-1'",
	)
	w.createCollations()
}

// createCollations sorts by ICU and by the C library.
func (w *world) createCollations() {
	w.t.Helper()
	w.run(w.space(mainSpace).was, shopDB,
		"create collation sales.german (provider = icu, locale = 'de-DE-u-co-phonebk')",
		"create collation sales.anycase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
		`create collation sales.plain (provider = libc, locale = 'C.utf8')`,
		`create table sales.words (id int, w text collate sales.german, c text collate sales.anycase, p text collate sales.plain)`,
		`insert into sales.words select g, chr(192 + g % 60) || g, md5(g::text), md5(g::text) from generate_series(1, 500) g`,
		`create index words_w on sales.words (w)`, `create unique index words_c on sales.words (c)`, `create index words_p on sales.words (p)`)
	w.run(w.space(reportSpace).was, "postgres",
		"create database "+umlautDB+" template template0 locale_provider icu icu_locale 'de-DE' locale 'C.utf8'")
	w.run(w.space(reportSpace).was, umlautDB, "create table words as select chr(192 + g % 60) || g as w from generate_series(1, 500) g", "create index on words (w)")
}

// changePhysical does it again once the snapshot is taken, so that it is in the WAL alone.
func (w *world) changePhysical() {
	w.t.Helper()
	p := w.space(mainSpace).was
	w.run(p, shopDB,
		"create table sales.moved as select generate_series(1, 100) as id", "alter table sales.moved set tablespace fast",
		"create table sales.late as select g as id from generate_series(1, 2000) g", "create index late_id on sales.late (id) tablespace fast",
		"select lo_put(70001, 1000, '\\xfeed')", "select lo_unlink(70003)", "select lo_from_bytea(70004, decode(repeat('0badf00d', 50000), 'hex'))",
		"insert into sales.cache select g from generate_series(1001, 2000) g",
		"begin; insert into sales.paid values (2); prepare transaction 'order-2'",
		"begin; insert into sales.paid values (3); prepare transaction 'order-3'", "rollback prepared 'order-3'",
	)
}

// createTablespace makes a tablespace in a folder of its own beside the data directory.
func (w *world) createTablespace(name, owner, options string) {
	w.t.Helper()
	p := w.space(mainSpace).was
	dir := w.tablespaceDir(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := p.Own(d); err != nil {
			w.t.Fatal(err)
		}
	}
	w.run(p, "postgres", "create tablespace "+name+" "+owner+" location '"+dir+"' "+options)
}

func (w *world) tablespaceDir(name string) string {
	return filepath.Join(w.env.Dir, "regions", devenv.Primary, "tablespaces", name)
}

func (w *world) checkPhysical(op topology.Operation) {
	w.checkTablespaces()
	w.checkUnlogged(op)
	w.checkSequences(op)
	w.checkPrepared(op)
	w.checkIndexes()
}

// checkTablespaces looks where the files are: below the new server's folder, and not where the lost region's are.
func (w *world) checkTablespaces() {
	s := w.space(mainSpace).is
	var location string
	w.scan(s, "postgres", "select pg_tablespace_location(oid) from pg_tablespace where spcname = 'fast'", &location)
	real, err := filepath.EvalSymlinks(location)
	if err != nil || !strings.HasPrefix(real, s.InstanceDir()+"/") {
		w.t.Errorf("tablespace fast lies in %s (%s), %v; want it below %s", location, real, err, s.InstanceDir())
	}
	if now := listing(w, filepath.Join(w.env.Dir, "regions", devenv.Primary, "tablespaces")); now != w.tablespaces {
		w.t.Errorf("the lost region's tablespaces were\n%s\nand are\n%s", w.tablespaces, now)
	}
}

// listing names every file below a folder with its size and time.
func listing(w *world, dir string) string {
	w.t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			b.WriteString(path + " " + info.ModTime().String() + "\n")
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return b.String()
}

// checkUnlogged: a crash empties unlogged tables, and so does a loss. It is said, since rows are missing.
func (w *world) checkUnlogged(op topology.Operation) {
	var rows, ticket int
	w.scan(w.space(mainSpace).is, shopDB, "select (select count(*) from sales.cache), nextval('sales.ticket')", &rows, &ticket)
	if rows != 0 || ticket != 1 {
		w.t.Errorf("the unlogged table has %d rows and the unlogged sequence gives %d, want 0 and 1", rows, ticket)
	}
	w.told(op, mainSpace, "sales.cache", "sales.ticket")
}

// checkSequences: what the lost region may still hand out is not handed out again.
func (w *world) checkSequences(op topology.Operation) {
	var next int64
	w.scan(w.space(mainSpace).is, shopDB, "select nextval('sales.orders_id_seq')", &next)
	if next <= topology.DefaultSequenceGap {
		w.t.Errorf("the next order gets the number %d", next)
	}
	w.told(op, mainSpace, "100000")
}

// checkPrepared commits what was prepared before the loss.
func (w *world) checkPrepared(op topology.Operation) {
	w.told(op, mainSpace, "order-1", "order-2")
	conn := open(w.t, w.space(mainSpace).is, shopDB)
	for _, gid := range []string{"order-1", "order-2"} {
		if _, err := conn.Exec(context.WithoutCancel(w.t.Context()), "commit prepared '"+gid+"'"); err != nil {
			w.t.Errorf("commit prepared transaction %s: %v", gid, err)
		}
	}
	var ids []int
	w.scan(w.space(mainSpace).is, shopDB, "select array_agg(id order by id) from sales.paid", &ids)
	if len(ids) != 2 || ids[0] != 1 || ids[1] != 2 {
		w.t.Errorf("rows of the prepared transactions: %v, want 1 and 2", ids)
	}
}

// checkIndexes compares every index with its table, and its order with what the collation says here.
func (w *world) checkIndexes() {
	for _, c := range []struct{ space, database string }{{mainSpace, shopDB}, {reportSpace, umlautDB}, {ordersSpace, bankDB}} {
		s := w.space(c.space).is
		conn := open(w.t, s, c.database)
		if _, err := conn.Exec(w.t.Context(), "create extension amcheck"); err != nil {
			w.t.Fatal(err)
		}
		var n int
		w.scan(s, c.database, `select count(bt_index_check(i.indexrelid, true)::text) from pg_index i join pg_class c on c.oid = indexrelid join pg_am a on a.oid = relam
			where amname = 'btree' and relpersistence <> 'u'`, &n)
		if n == 0 {
			w.t.Errorf("database %s of %s has no index: the test shows nothing", c.database, c.space)
		}
	}
}
