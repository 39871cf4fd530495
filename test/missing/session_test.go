package missing_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// overlay is what a transaction, or a savepoint of it, did to the table items: rows by their id, nil for one that it removed.
type overlay struct {
	cleared bool // all that was there before was removed
	rows    map[string][]*string
}

func newOverlay() overlay { return overlay{rows: map[string][]*string{}} }

// onto adds what was done to what was done before.
func (o overlay) onto(below *overlay) {
	if o.cleared {
		*below = overlay{cleared: true, rows: map[string][]*string{}}
	}
	maps.Copy(below.rows, o.rows)
}

// client is one connection of a history, with the transaction that it is in.
type client struct {
	h      *history
	number int
	conn   *pgx.Conn
	layers []overlay // of the transaction and its savepoints; empty outside of one
	failed bool      // the transaction can only be rolled back
	wild   bool      // the transaction has locked tables as no prepared one should: nobody could read them
}

func (c *client) inside() bool { return len(c.layers) > 0 }

// connect opens a session that does not wait for locks: what is locked is left alone.
func (h *history) connect() (*client, error) {
	conn, err := h.server.Open(h.ctx, h.database)
	if err != nil {
		return nil, err
	}
	_, err = conn.Exec(h.ctx, fmt.Sprintf("set search_path = %s, public; set lock_timeout = '5ms'; set client_min_messages = error; set xmloption = content",
		h.schema), pgx.QueryExecModeSimpleProtocol)
	return &client{h: h, number: len(h.clients), conn: conn}, err
}

// run runs statements and returns their results. It reports false when the server refuses, which a history meets often; any other
// failure ends the history.
func (c *client) run(sql string) ([]*pgconn.Result, bool) {
	results, err := c.conn.PgConn().Exec(c.h.ctx, sql).ReadAll()
	return results, c.judge(sql, err)
}

// copyIn runs COPY ... FROM STDIN.
func (c *client) copyIn(sql string, rows []string) bool {
	data := strings.Join(rows, "\n") + "\n"
	_, err := c.conn.PgConn().CopyFrom(c.h.ctx, strings.NewReader(data), sql)
	return c.judge(sql+"\n"+data, err)
}

func (c *client) judge(sql string, err error) bool {
	var refused *pgconn.PgError
	note := ""
	switch {
	case errors.As(err, &refused) && refused.Severity == "ERROR":
		note = " -- " + refused.Message
		c.failed = c.inside()
	case err != nil:
		note = " -- " + err.Error()
		c.h.err = fmt.Errorf("%s: %w", sql, err)
	}
	c.h.log = append(c.h.log, fmt.Sprintf("%d: %s;%s", c.number, sql, note))
	return err == nil
}

func text(b []byte) *string {
	if b == nil {
		return nil
	}
	s := string(b)
	return &s
}

func cells(row [][]byte) []*string {
	out := make([]*string, len(row))
	for i, b := range row {
		out[i] = text(b)
	}
	return out
}

// closeIdle closes the sessions that are not in a transaction.
func (h *history) closeIdle() {
	for i, c := range h.clients {
		if c != nil && !c.inside() {
			h.clients[i] = nil
			_ = c.conn.Close(context.Background()) // nothing is under way there
		}
	}
}
