package missing_test

import (
	"fmt"
	"slices"
)

// Prepared transactions hold their locks on the side that serves too. So those that may be open at the fork touch one table only, and rows of
// their own there; others can be prepared only behind the fork.

// prepare prepares what a client is in the middle of.
func (h *history) prepare(c *client) {
	if h.active || !h.beyond || c.wild && !h.wild {
		return
	}
	done := c.whole()
	gid := h.gid()
	results, ok := c.run(askXID + fmt.Sprintf("; prepare transaction '%s'", gid))
	if !ok {
		c.layers, c.failed = nil, false // a PREPARE that fails rolls back
		return
	}
	c.layers = nil
	if xid := xidOf(results[0]); xid != "" {
		h.prepared = append(h.prepared, prepared{gid: gid, xid: xid, done: done})
	}
}

func (h *history) gid() string {
	h.gids++
	return fmt.Sprintf("%s_%s_%d", h.database, h.schema, h.gids)
}

// prepareWhole prepares a transaction of its own, also before the fork.
func (h *history) prepareWhole(c *client) {
	if h.active {
		return
	}
	gid := h.gid()
	id := h.gids*10 + h.r.IntN(3)
	sql := fmt.Sprintf("begin; insert into twop values (%d, 'x'), (%d, 'y'); update twop set v = v || 'z' where id = %d; "+askXID+"; prepare transaction '%s'",
		id, id+3, id, gid)
	results, ok := c.run(sql)
	if !ok {
		_, _ = c.run("rollback")
		c.failed = false
		return
	}
	h.prepared = append(h.prepared, prepared{gid: gid, xid: xidOf(results[3]), done: newOverlay(), keys: []string{fmt.Sprintf("%d|", id), fmt.Sprintf("%d|", id+3)}})
}

// endPrepared ends a prepared transaction.
func (h *history) endPrepared(c *client) {
	if len(h.prepared) == 0 || h.active {
		return
	}
	i := h.r.IntN(len(h.prepared))
	p := h.prepared[i]
	end := "commit"
	if h.r.IntN(3) == 0 {
		end = "rollback"
	}
	if _, ok := c.run(fmt.Sprintf("%s prepared '%s'", end, p.gid)); !ok {
		return
	}
	h.prepared = slices.Delete(h.prepared, i, i+1)
	if p.atFork {
		h.ended = append(h.ended, endedPrepared{prepared: p, committed: end == "commit"})
	}
	if end == "commit" {
		h.committed(p.done, p.xid)
	}
}

// endedPrepared is a transaction that was prepared at the fork, and that the old server ended.
type endedPrepared struct {
	prepared
	committed bool
}
