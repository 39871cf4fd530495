package missing_test

import "fmt"

var tables = []string{"items", "parents", "kids", "strict", "tree", "bag", "parts", "parts_1", "moves", "moves_low", "ident", "toasty", "slots", "docs", "twokey", "inhp", "inhc", "shape"}

func (h *history) table() string { return tables[h.r.IntN(len(tables))] }

// maintain runs what changes files and pages, and no row. It can't run inside of a transaction.
func maintain(h *history, c *client) {
	keyed := []string{"items_pkey on items", "parents_pkey on parents", "toasty_pkey on toasty", "ident_pkey on ident"}
	switch h.r.IntN(8) {
	case 0:
		_, _ = c.run("vacuum " + h.table())
	case 1:
		_, _ = c.run("vacuum (freeze) " + h.table())
	case 2:
		_, _ = c.run("vacuum (full) " + h.table())
	case 3:
		_, _ = c.run("cluster " + swap(keyed[h.r.IntN(len(keyed))]))
	case 4:
		_, _ = c.run("checkpoint")
	case 5:
		_, _ = c.run("vacuum (freeze, truncate, index_cleanup on) " + h.table())
	case 6:
		_, _ = c.run("analyze " + h.table())
	case 7:
		_, _ = c.run("select pg_log_standby_snapshot()") // from version 16 on
	}
}

// swap turns CLUSTER's old form "index ON table" into the one that there is now.
func swap(s string) string {
	var index, table string
	if _, err := fmt.Sscanf(s, "%s on %s", &index, &table); err != nil {
		panic(err)
	}
	return table + " using " + index
}

// changeShape runs DDL, and changes the table that DDL is for.
func changeShape(h *history, c *client) {
	c.wild = true
	switch h.r.IntN(14) {
	case 0:
		c.ddl("truncate kids, strict, parents")
	case 1:
		c.ddl("truncate %s", []string{"bag", "parts_1", "moves", "toasty", "docs", "shape"}[h.r.IntN(6)])
	case 2: // a rewrite: each row gets another place, and the transaction's number
		c.ddl("alter table %[1]s add column tmp float default random(); alter table %[1]s drop column tmp", h.table())
	case 3:
		c.ddl("alter table shape add column d%d text default %s", h.r.IntN(3), h.word())
	case 4:
		c.ddl("alter table shape drop column if exists d%d", h.r.IntN(3))
	case 5:
		c.ddl("create table made (id int primary key, v text); insert into made values (%d, %s), (20, 'x')", h.id(), h.word())
	case 6:
		c.ddl("update made set v = %s; delete from made where id = 20", h.word())
	case 7:
		c.ddl("drop table if exists made")
	case 8, 9, 10:
		c.ddl("insert into shape values (%d, %d, %s, %s)", h.id(), h.r.IntN(9), h.word(), h.word())
	case 11:
		c.ddl("update shape set a = a + 1 where id < %d", h.id())
	case 12:
		c.ddl("delete from shape where id = %d", h.id())
	case 13:
		c.ddl("create index if not exists bag_a on bag (a); alter table bag alter b set not null; alter table bag alter b drop not null")
	}
}

func (c *client) ddl(sql string, args ...any) { _, _ = c.run(fmt.Sprintf(sql, args...)) }
