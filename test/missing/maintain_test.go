package missing_test

import "fmt"

// table chooses one of the history's tables.
func (h *history) table() string {
	tables := []string{"items", "bag", "shape"}
	for _, k := range h.kinds {
		tables = append(tables, k.tables...)
	}
	return tables[h.r.IntN(len(tables))]
}

// maintain runs what changes files and pages, and no row. It can't run inside of a transaction.
func maintain(h *history, c *client) {
	switch h.r.IntN(8) {
	case 0:
		_, _ = c.run("vacuum " + h.table())
	case 1:
		_, _ = c.run("vacuum (freeze) " + h.table())
	case 2:
		_, _ = c.run("vacuum (full) " + h.table())
	case 3:
		table := h.table()
		_, _ = c.run("cluster " + table + " using " + table + "_pkey")
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

// changeShape runs DDL, and changes the table that DDL is for.
func changeShape(h *history, c *client) {
	c.wild = true
	switch h.r.IntN(14) {
	case 0, 1:
		c.truncate(h.table())
	case 2: // a rewrite: each row gets another place, and the transaction's number
		c.ddl("alter table %[1]s add column tmp float default random(); alter table %[1]s drop column tmp", h.table())
	case 3:
		c.ddl("alter table shape add column d%d varchar(20) default %s", h.r.IntN(3), h.word())
	case 4:
		c.ddl("alter table shape drop column if exists d%d", h.r.IntN(3))
	case 5:
		c.ddl("create table made (id int primary key, v varchar(20)); insert into made values (%d, %s), (20, 'x')", h.id(), h.word())
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

// truncate empties a table, and those that refer to it. What becomes of items is counted.
func (c *client) truncate(table string) {
	if table == "items" {
		c.clearItems()
		return
	}
	c.ddl("truncate %s cascade", table)
}
