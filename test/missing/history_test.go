package missing_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/postgres"
)

// history is a random run of statements in one schema, in transactions that lie in each other. What becomes of the table items is known
// without asking the server again.
type history struct {
	ctx      context.Context
	server   *postgres.Server
	database string
	schema   string
	number   int // among all histories
	kinds    []kind
	r        *rand.Rand
	major    int
	active   bool // on the side that serves: it makes no prepared transactions
	beyond   bool // the fork is behind it
	wild     bool // prepared transactions may lock tables

	clients  [3]*client
	prepared []prepared
	ended    []endedPrepared
	gids     int
	items    map[string][]*string // committed rows of the table items
	writers  map[string]string    // the transaction that wrote or removed a row of items last, since the fork
	log      []string
	err      error
	atFork   forkPoint
}

// prepared is a prepared transaction.
type prepared struct {
	gid    string
	xid    string
	done   overlay
	atFork bool
	keys   []string // of the table twop that it wrote
}

// run takes steps.
func (h *history) run(steps int) error {
	for i := 0; i < steps && h.err == nil; i++ {
		h.step()
	}
	return h.err
}

func (h *history) step() {
	i := h.r.IntN(len(h.clients))
	if h.clients[i] == nil {
		if h.clients[i], h.err = h.connect(); h.err != nil {
			return
		}
		h.clients[i].number = i
	}
	c := h.clients[i]
	switch {
	case c.failed:
		c.recover()
	case c.inside():
		h.pick(c, insideActs)
	default:
		h.pick(c, outsideActs)
	}
}

// act is something that a history may do, and how often beside others.
type act struct {
	weight int
	do     func(h *history, c *client)
}

func (h *history) pick(c *client, acts []act) {
	total := 0
	for _, a := range acts {
		total += a.weight
	}
	n := h.r.IntN(total)
	for _, a := range acts {
		if n -= a.weight; n < 0 {
			a.do(h, c)
			return
		}
	}
}

// Acts inside and outside of a transaction.
var insideActs, outsideActs []act

func init() {
	insideActs = []act{
		{40, changeItems}, {60, changeOthers}, {4, manySavepoints}, {3, changeShape},
		{10, func(_ *history, c *client) { c.savepoint() }}, {6, func(_ *history, c *client) { c.rollbackTo() }}, {4, func(_ *history, c *client) { c.release() }},
		{16, func(_ *history, c *client) { c.commit() }}, {7, func(_ *history, c *client) { c.rollback() }}, {3, func(h *history, c *client) { h.prepare(c) }},
	}
	outsideActs = []act{
		{25, func(h *history, c *client) { c.begin() }}, {15, changeItems}, {30, changeOthers}, {5, maintain}, {3, changeShape},
		{6, func(h *history, c *client) { h.endPrepared(c) }}, {3, func(h *history, c *client) { h.prepareWhole(c) }},
	}
}

func (c *client) begin() {
	if _, ok := c.run("begin"); ok {
		c.layers, c.wild = []overlay{newOverlay()}, false
	}
}

func (c *client) savepoint() {
	if _, ok := c.run(fmt.Sprintf("savepoint s%d", len(c.layers))); ok {
		c.layers = append(c.layers, newOverlay())
	}
}

// rollbackTo rolls back to the last savepoint, and keeps it.
func (c *client) rollbackTo() {
	top := len(c.layers) - 1
	if top == 0 {
		return
	}
	if _, ok := c.run(fmt.Sprintf("rollback to s%d", top)); ok {
		c.layers[top] = newOverlay()
		c.failed = false
	}
}

func (c *client) release() {
	top := len(c.layers) - 1
	if top == 0 {
		return
	}
	if _, ok := c.run(fmt.Sprintf("release s%d", top)); ok {
		c.layers[top].onto(&c.layers[top-1])
		c.layers = c.layers[:top]
	}
}

// recover leaves a transaction that a statement made fail, or its last savepoint.
func (c *client) recover() {
	if len(c.layers) > 1 && c.h.r.IntN(2) == 0 {
		c.rollbackTo()
		return
	}
	c.rollback()
}

func (c *client) rollback() {
	if _, ok := c.run("rollback"); ok {
		c.layers, c.failed = nil, false
	}
}

const askXID = "select pg_current_xact_id_if_assigned()::xid"

func (c *client) commit() {
	if results, ok := c.run(askXID + "; commit"); ok {
		c.h.committed(c.whole(), xidOf(results[0]))
		c.layers = nil
	}
}

// whole is what the transaction did, with all of its savepoints.
func (c *client) whole() overlay {
	done := newOverlay()
	for _, o := range c.layers {
		o.onto(&done)
	}
	return done
}

func xidOf(r *pgconn.Result) string {
	if len(r.Rows) == 0 || r.Rows[0][0] == nil {
		return ""
	}
	return string(r.Rows[0][0])
}

// committed adds a transaction to what is committed.
func (h *history) committed(done overlay, xid string) {
	if done.cleared {
		for id := range h.items {
			h.writers[id] = xid
		}
		clear(h.items)
	}
	for id, row := range done.rows {
		h.writers[id] = xid
		if h.items[id] = row; row == nil {
			delete(h.items, id)
		}
	}
}

// fork begins to count what is written from here on.
func (h *history) fork() {
	h.beyond = true
	h.atFork = forkPoint{maps.Clone(h.items), h.gids}
	h.writers = map[string]string{}
	for i := range h.prepared {
		h.prepared[i].atFork = true
	}
}

// forkPoint is what is known of a history at the fork.
type forkPoint struct {
	items map[string][]*string
	gids  int
}

// otherAtFork returns the history that goes on from the fork on the side that serves.
func (h *history) otherAtFork(server *postgres.Server) *history {
	return &history{
		ctx: h.ctx, server: server, database: h.database, schema: h.schema, number: h.number, kinds: h.kinds, major: h.major, active: true, beyond: true,
		r: random("active", h.major, h.number), items: maps.Clone(h.atFork.items), writers: map[string]string{}, gids: h.atFork.gids,
	}
}

// unlock ends transactions that have locked tables so that nobody could read them.
func (h *history) unlock() {
	for _, c := range h.clients {
		switch {
		case c == nil || !c.inside() || !c.wild || h.err != nil:
		case c.failed:
			c.rollback()
		default:
			c.commit()
		}
	}
}

// settle ends what is open.
func (h *history) settle() error {
	for _, c := range h.clients {
		switch {
		case c == nil || !c.inside() || h.err != nil:
		case c.failed || h.r.IntN(3) == 0:
			c.rollback()
		default:
			c.commit()
		}
	}
	h.closeIdle()
	return h.err
}
