package missing_test

import (
	"fmt"
	"strconv"
	"strings"
)

// changeOthers runs a statement over one of the other tables.
func changeOthers(h *history, c *client) {
	if h.r.IntN(20) == 0 {
		c.copyBag()
		return
	}
	_, _ = c.run(h.kinds[h.r.IntN(len(h.kinds))].change(h))
}

// family are tables with foreign keys between them.
func (h *history) family() string {
	return []func() string{h.parents, h.parents, h.kids, h.strict}[h.r.IntN(4)]()
}

func (h *history) parents() string {
	switch h.r.IntN(7) {
	case 0, 1, 2:
		return fmt.Sprintf("insert into parents values (%d, %s, %s)", h.id(), h.value(), h.word())
	case 3:
		return fmt.Sprintf("update parents set v = %s where id = %d", h.word(), h.id())
	case 4:
		return fmt.Sprintf("update parents set code = %s where id = %d", h.value(), h.id())
	case 5:
		return fmt.Sprintf("delete from parents where id = %d", h.id())
	}
	return fmt.Sprintf("update parents set id = %d where id = %d", h.id(), h.id())
}

func (h *history) kids() string {
	switch h.r.IntN(6) {
	case 0, 1, 2:
		return fmt.Sprintf("insert into kids select %d, (select id from parents order by (id * %d) %% 11 limit 1), (select code from parents where id = %d), %s",
			h.id(), 1+h.r.IntN(10), h.id(), h.word())
	case 3:
		return fmt.Sprintf("update kids set parent = (select id from parents where id > %d limit 1) where id = %d", h.id(), h.id())
	case 4:
		return fmt.Sprintf("update kids set v = %s, code = null where id = %d", h.word(), h.id())
	}
	return fmt.Sprintf("delete from kids where id = %d", h.id())
}

func (h *history) strict() string {
	switch h.r.IntN(4) {
	case 0, 1:
		return fmt.Sprintf("insert into strict select %d, id, %s from parents where id >= %d order by id limit 1", h.id(), h.word(), h.id())
	case 2:
		return fmt.Sprintf("update strict set v = %s where id < %d", h.word(), h.id())
	}
	return fmt.Sprintf("delete from strict where id >= %d", h.id())
}

func (h *history) tree() string {
	switch h.r.IntN(5) {
	case 0, 1:
		return fmt.Sprintf("insert into tree values (%d, (select id from tree where id <> %d order by (id * 7) %% 11 limit 1), %s)", h.id(), h.id(), h.word())
	case 2:
		id := h.id()
		return fmt.Sprintf("insert into tree values (%d, %d, %s)", id, id, h.word())
	case 3:
		return fmt.Sprintf("update tree set up = (select id from tree where id = %d) where id = %d", h.id(), h.id())
	}
	return fmt.Sprintf("delete from tree where id = %d", h.id())
}

func (h *history) bag() string {
	switch h.r.IntN(6) {
	case 0, 1:
		return fmt.Sprintf("insert into bag select %d, %s from generate_series(1, %d)", h.r.IntN(4), h.word(), 1+h.r.IntN(3))
	case 2:
		return fmt.Sprintf("insert into bag values (null, null), (%d, null)", h.r.IntN(4))
	case 3:
		return fmt.Sprintf("update bag set b = %s where a = %d", h.word(), h.r.IntN(4))
	case 4:
		return fmt.Sprintf("delete from bag where ctid = (select min(ctid) from bag where a = %d)", h.r.IntN(4))
	}
	return fmt.Sprintf("delete from bag where a = %d and b = %s", h.r.IntN(4), h.word())
}

func (c *client) copyBag() {
	var lines []string
	for range 1 + c.h.r.IntN(40) {
		lines = append(lines, strconv.Itoa(c.h.r.IntN(4))+"\t"+string('a'+rune(c.h.r.IntN(5))))
	}
	table := "bag (a, b)"
	if c.h.r.IntN(3) == 0 {
		table = "moves (r, v)"
	}
	_ = c.copyIn("copy "+table+" from stdin", lines)
}

func (h *history) parts() string {
	switch h.r.IntN(7) {
	case 0, 1, 2:
		return fmt.Sprintf("insert into parts values (%d, %d, %s)", h.id(), h.r.IntN(4), h.word())
	case 3:
		return fmt.Sprintf("update parts set region = (region + 1) %% 4 where id = %d", h.id()) // moves rows between partitions
	case 4:
		return fmt.Sprintf("update parts set v = %s where region = %d", h.word(), h.r.IntN(4))
	case 5:
		return fmt.Sprintf("delete from parts where id = %d", h.id())
	}
	return fmt.Sprintf("insert into parts values (%d, %d, %s) on conflict do nothing", h.id(), h.r.IntN(4), h.word())
}

func (h *history) moves() string {
	switch h.r.IntN(4) {
	case 0, 1:
		return fmt.Sprintf("insert into moves select %d, n, %s from generate_series(1, %d) n", h.id(), h.word(), 1+h.r.IntN(5))
	case 2:
		return fmt.Sprintf("update moves set r = (r + 2) %% 6 where k = %d", h.id())
	}
	return fmt.Sprintf("delete from moves where k = %d", h.id())
}

func (h *history) ident() string {
	switch h.r.IntN(4) {
	case 0, 1:
		return fmt.Sprintf("insert into ident (v) select %s from generate_series(1, %d)", h.word(), 1+h.r.IntN(2))
	case 2:
		return fmt.Sprintf("update ident set v = %s where id = %d", h.word(), h.id())
	}
	return fmt.Sprintf("delete from ident where id = %d", h.id())
}

func (h *history) toasty() string {
	big := fmt.Sprintf("(select string_agg(md5((i * %d)::text), '') from generate_series(1, %d) i)", h.r.IntN(1000), 80+h.r.IntN(100))
	switch h.r.IntN(6) {
	case 0, 1:
		return fmt.Sprintf("insert into toasty values (%d, %d, %s)", h.id(), h.r.IntN(9), big)
	case 2, 3:
		return fmt.Sprintf("update toasty set n = n + 1 where id = %d", h.id())
	case 4:
		return fmt.Sprintf("update toasty set big = %s where id = %d", big, h.id())
	}
	return fmt.Sprintf("delete from toasty where id = %d", h.id())
}

func (h *history) slots() string {
	from := h.r.IntN(20)
	switch h.r.IntN(4) {
	case 0, 1:
		return fmt.Sprintf("insert into slots values (%d, int4range(%d, %d))", h.id(), from, from+1+h.r.IntN(4))
	case 2:
		return fmt.Sprintf("update slots set during = int4range(%d, %d) where id = %d", from, from+1+h.r.IntN(4), h.id())
	}
	return fmt.Sprintf("delete from slots where id = %d", h.id())
}

func (h *history) docs() string {
	switch h.r.IntN(7) {
	case 0, 1:
		return fmt.Sprintf(`insert into docs values (%d, '{"a": %d}', '<a b="%d"/>', point(%d, 0.1), '%s', %d.0, array[%s, null, 'x,"y'], %d)`,
			h.id(), h.r.IntN(4), h.r.IntN(4), h.r.IntN(4), []string{"sad", "ok", "happy"}[h.r.IntN(3)], h.r.IntN(4), h.word(), h.r.IntN(9))
	case 2:
		return fmt.Sprintf(`update docs set j = '{"a":%d}', num = num * 1.0 where id = %d`, h.r.IntN(4), h.id())
	case 3:
		return fmt.Sprintf("update docs set p = '(1e-3,%d)', x = null where id = %d", h.r.IntN(4), h.id())
	case 4:
		return fmt.Sprintf("update docs set arr = arr || %s::text, m = 'ok' where id = %d", h.word(), h.id())
	case 5:
		return fmt.Sprintf("update docs set num = case when num < 3 then 'NaN' else 2.00 end, s = null where id = %d", h.id())
	}
	return fmt.Sprintf("delete from docs where id = %d", h.id())
}

func (h *history) twokey() string {
	switch h.r.IntN(4) {
	case 0, 1:
		return fmt.Sprintf("insert into twokey values (%s, %d, %s) on conflict (a, b) do update set v = excluded.v", h.word(), h.r.IntN(3), h.word())
	case 2:
		return fmt.Sprintf("update twokey set b = %s where a = %d", h.word(), h.r.IntN(3))
	}
	return fmt.Sprintf("delete from twokey where a = %d", h.r.IntN(3))
}

func (h *history) inherited() string {
	table := []string{"inhp", "inhc", "only inhp"}[h.r.IntN(3)]
	switch h.r.IntN(4) {
	case 0, 1:
		return fmt.Sprintf("insert into %s values (%d, %s)", strings.TrimPrefix(table, "only "), h.id(), h.word())
	case 2:
		return fmt.Sprintf("update %s set v = %s where id = %d", table, h.word(), h.id())
	}
	return fmt.Sprintf("delete from %s where id = %d", table, h.id())
}

// others are what is no table: large objects and sequences. The numbers of large objects say whose they are.
func (h *history) others() string {
	lo := 100000 + h.number*100 + h.r.IntN(3)
	switch h.r.IntN(5) {
	case 0, 1:
		return fmt.Sprintf("select lo_from_bytea(%d, convert_to(repeat(%s, %d), 'UTF8'))", lo, h.word(), 1+h.r.IntN(5000))
	case 2:
		return fmt.Sprintf("select lo_put(%d, %d, '\\x01020304')", lo, h.r.IntN(3000))
	case 3:
		return fmt.Sprintf("select lo_unlink(%d)", lo)
	}
	return "select nextval('counter')"
}
