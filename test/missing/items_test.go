package missing_test

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// keys is how many ids a table's rows choose from: few, so that the two sides meet.
	keys = 10
	// values is how many a unique column chooses from.
	values = 14
)

func (h *history) id() int { return 1 + h.r.IntN(keys) }

// value returns a value of a unique column, or null.
func (h *history) value() string {
	if n := h.r.IntN(values); n > 0 {
		return strconv.Itoa(n)
	}
	return "null"
}

// word returns a short text, of few.
func (h *history) word() string { return fmt.Sprintf("'%c'", 'a'+rune(h.r.IntN(5))) }

// changeItems runs a statement over the table items whose effect is known.
func changeItems(h *history, c *client) {
	switch h.r.IntN(12) {
	case 0, 1, 2:
		c.items("insert into items (id, u, v, n) values (%d, %s, %s, %d) returning *", h.id(), h.value(), h.word(), h.r.IntN(5))
	case 3, 4:
		c.items("update items set v = %s, n = n + 1 where id = %d returning *", h.word(), h.id())
	case 5:
		c.items("update items set n = n + %d, u = case when id %% 3 = 0 then %s else u end where id between %d and 9 returning *", h.r.IntN(3), h.value(), h.id())
	case 6, 7:
		id := h.id()
		c.removing("delete from items where id = %d returning id", id)
	case 8:
		c.items("insert into items (id, u, v) values (%d, %s, %s) on conflict (id) do update set v = excluded.v || items.v, n = 7 returning *", h.id(), h.value(), h.word())
	case 9:
		c.moveItem(h.id(), h.id())
	case 10:
		c.copyItems()
	case 11:
		if h.r.IntN(4) == 0 {
			c.clearItems()
		} else {
			c.items("select * from items where id < 0 for update") // a lock changes nothing
			_, _ = c.run(fmt.Sprintf("select 1 from items where id < %d for %s", h.id(), []string{"update", "share", "key share"}[h.r.IntN(3)]))
		}
	}
}

// items runs a statement that returns the rows that it left.
func (c *client) items(sql string, args ...any) {
	c.effect(fmt.Sprintf(sql, args...), func(o overlay, r *pgconn.Result) {
		for _, row := range r.Rows {
			o.rows[string(row[0])] = cells(row)
		}
	})
}

// removing runs a statement that returns the ids of the rows that it removed.
func (c *client) removing(sql string, args ...any) {
	c.effect(fmt.Sprintf(sql, args...), func(o overlay, r *pgconn.Result) {
		for _, row := range r.Rows {
			o.rows[string(row[0])] = nil
		}
	})
}

// moveItem gives a row another key.
func (c *client) moveItem(from, to int) {
	c.effect(fmt.Sprintf("update items set id = %d where id = %d returning *", to, from), func(o overlay, r *pgconn.Result) {
		for _, row := range r.Rows {
			o.rows[strconv.Itoa(from)] = nil
			o.rows[string(row[0])] = cells(row)
		}
	})
}

func (c *client) clearItems() {
	o := newOverlay()
	c.wild = true
	if results, ok := c.run("truncate items; " + askXID); ok {
		o.cleared = true
		c.keep(o, xidOf(results[1]))
	}
}

// effect runs a statement, and keeps what it did.
func (c *client) effect(sql string, read func(overlay, *pgconn.Result)) {
	results, ok := c.run(sql + "; " + askXID)
	if !ok {
		return
	}
	o := newOverlay()
	read(o, results[0])
	c.keep(o, xidOf(results[1]))
}

// keep adds what a statement did to its transaction, or to what is committed.
func (c *client) keep(o overlay, xid string) {
	if !c.inside() {
		c.h.committed(o, xid)
		return
	}
	o.onto(&c.layers[len(c.layers)-1])
}

// copyItems loads rows that are known beforehand.
func (c *client) copyItems() {
	o := newOverlay()
	var lines []string
	for range 1 + c.h.r.IntN(3) {
		id, v, n := strconv.Itoa(c.h.id()), string('a'+rune(c.h.r.IntN(5))), c.h.r.IntN(5)
		lines = append(lines, strings.Join([]string{id, `\N`, v, strconv.Itoa(n)}, "\t"))
		row := []*string{&id, nil, &v, number2text(n), number2text(1), number2text(2 * n)}
		if c.h.major >= 18 {
			row = append(row, number2text(n+1))
		}
		o.rows[id] = row
	}
	if !c.inside() {
		c.begin()
		defer c.commitOr()
	}
	if c.copyIn("copy items (id, u, v, n) from stdin", lines) {
		c.keep(o, "")
	}
}

// commitOr commits, or rolls back what failed.
func (c *client) commitOr() {
	if c.failed {
		c.rollback()
		return
	}
	c.commit()
}

func number2text(n int) *string {
	s := strconv.Itoa(n)
	return &s
}

// manySavepoints makes more subtransactions than a server keeps in shared memory for one transaction.
func manySavepoints(h *history, c *client) {
	top := len(c.layers)
	var sql strings.Builder
	undone := map[int]bool{}
	for i := range 66 {
		fmt.Fprintf(&sql, "savepoint m%d; update items set n = n + 1 where id = %d returning *; ", i, 1+i%keys)
		if h.r.IntN(8) == 0 {
			fmt.Fprintf(&sql, "rollback to m%d; ", i)
			undone[i] = true
		}
	}
	results, ok := c.run(sql.String())
	if !ok || len(c.layers) != top {
		return
	}
	o := newOverlay()
	at := 0
	for i := range 66 {
		for _, row := range results[at+1].Rows {
			if !undone[i] {
				o.rows[string(row[0])] = cells(row)
			}
		}
		if at += 2; undone[i] {
			at++
		}
	}
	c.keep(o, "")
}
