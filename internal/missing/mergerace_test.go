package missing_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// at calls something when a merge begins a phase, the first time.
func at(phase string, do func()) func(*missing.MergeInput) {
	var once sync.Once
	return func(in *missing.MergeInput) {
		in.Progress = func(p string, _, _ int64) {
			if strings.HasPrefix(p, phase) {
				once.Do(do)
			}
		}
	}
}

// waitBlocked waits until some session of the active database waits for a lock.
func (h *mergeHistory) waitBlocked() {
	h.t.Helper()
	conn := postgrestest.Open(h.t, h.server, h.active)
	defer conn.Close(context.Background())
	for end := time.Now().Add(devtest.Patience); ; time.Sleep(5 * time.Millisecond) {
		var blocked bool
		if err := conn.QueryRow(h.t.Context(), `select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')`).Scan(&blocked); err != nil {
			h.t.Error(err)
			return
		}
		if blocked {
			return
		}
		if time.Now().After(end) {
			h.t.Error("nobody waits for a lock")
			return
		}
	}
}

// begun opens a transaction on the active side, and leaves it open.
func (h *mergeHistory) begun(sql string) *pgx.Conn {
	h.t.Helper()
	conn := postgrestest.Open(h.t, h.server, h.active)
	h.t.Cleanup(func() { conn.Close(context.Background()) })
	_, err := conn.Exec(h.t.Context(), "begin; "+sql, pgx.QueryExecModeSimpleProtocol)
	postgrestest.Check(h.t, err)
	return conn
}

// endsOnceBlocked ends a transaction as soon as somebody waits for it; the test waits for that before its connections are closed.
func (h *mergeHistory) endsOnceBlocked(conn *pgx.Conn, sql string) {
	var ended sync.WaitGroup
	h.t.Cleanup(ended.Wait)
	ended.Go(func() { h.waitBlocked(); end(h.t, conn, sql) })
}

func end(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	_, err := conn.Exec(context.Background(), sql)
	if err != nil {
		t.Error(err)
	}
}

const orphans = "select count(*) from orders o where customer is not null and not exists (select from customers c where c.id = o.customer)"

func TestAKeyThatSomebodyTakesDuringAMerge(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, nil)
		for name, insert := range map[string]string{
			"both-inserted insert customers 4\nmissing insert customers 5 +": `insert into customers values (4, 'mine', null)`,
			"unique insert customers 4\nmissing insert customers 5 +":        `insert into customers values (77, 'd@x', null)`,
		} {
			h := partHistory(t, s, mergeOrders, `insert into customers values (4, 'd@x', null), (5, 'e@x', null)`, "")
			h.merge(withApply, at("merge ", func() { h.on(insert) }))
			if diff := cmp.Diff(name, h.said()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
	})
}

// TestKeysThatAreTakenAgainAndAgain has somebody take another key in each try; at last nobody else may write.
func TestKeysThatAreTakenAgainAndAgain(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, nil)
		h := partHistory(t, s, mergeItems, `insert into items select i, 'd', i from generate_series(11, 19) i`, "")
		conn := postgrestest.Open(t, s, h.active)
		defer conn.Close(context.Background())
		_, err := conn.Exec(t.Context(), "set lock_timeout = '200ms'")
		postgrestest.Check(t, err)
		taken := 0
		sum := h.merge(withApply, func(in *missing.MergeInput) {
			in.Progress = func(phase string, _, _ int64) {
				if !strings.HasPrefix(phase, "merge ") {
					return
				}
				if _, err := conn.Exec(context.Background(), "insert into items values ($1, 'mine', 0)", 11+taken); err == nil {
					taken++
				}
			}
		})
		if taken != 4 || sum.Classes[missing.BothInserted] != 4 || sum.Applied != 5 {
			t.Errorf("%d keys taken: %+v", taken, sum.Classes)
		}
	})
}

func TestAParentThatGoesWhileAChildComes(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, nil)
		const old = `delete from orders where customer = 3; delete from customers where id = 3`
		t.Run("before", func(t *testing.T) {
			h := partHistory(t, s, mergeOrders, old, "")
			child := h.begun(`insert into orders values (50, 3, 'new')`)
			h.endsOnceBlocked(child, "commit")
			h.merge(withApply, func(in *missing.MergeInput) { in.LockWait = time.Minute })
			if diff := cmp.Diff("fk-child delete customers 3\nmissing delete orders 2 +", h.said()); diff != "" || h.ask(orphans) != "0" {
				t.Errorf("%s orphans (-want +got):\n%s", h.ask(orphans), diff)
			}
		})
		t.Run("after", func(t *testing.T) {
			h := partHistory(t, s, mergeOrders, old, "")
			child := h.begun("")
			failed := make(chan error, 1)
			h.merge(withApply, at("check keys", func() {
				go func() {
					_, err := child.Exec(context.Background(), `insert into orders values (50, 3, 'new')`)
					failed <- err
				}()
				h.waitBlocked()
			}))
			if err := <-failed; err == nil || h.ask(orphans) != "0" {
				t.Errorf("the child came: %v, %s orphans", err, h.ask(orphans))
			}
		})
	})
}

func TestAChildThatComesWhileItsParentGoes(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, nil)
		const old = `insert into orders values (9, 2, 'n')`
		t.Run("before", func(t *testing.T) {
			h := partHistory(t, s, mergeOrders, old, "")
			parent := h.begun(`delete from customers where id = 2`)
			h.endsOnceBlocked(parent, "commit")
			h.merge(withApply, func(in *missing.MergeInput) { in.LockWait = time.Minute })
			if diff := cmp.Diff("fk-parent insert orders 9", h.said()); diff != "" || h.ask(orphans) != "0" {
				t.Errorf("%s orphans (-want +got):\n%s", h.ask(orphans), diff)
			}
		})
		t.Run("after", func(t *testing.T) {
			h := partHistory(t, s, mergeOrders, old, "")
			parent := h.begun("")
			failed := make(chan error, 1)
			h.merge(withApply, at("merge ", func() {
				go func() {
					_, err := parent.Exec(context.Background(), `delete from customers where id = 2`)
					failed <- err
				}()
				h.waitBlocked()
			}))
			if err := <-failed; err == nil || h.ask(orphans) != "0" {
				t.Errorf("the parent went: %v, %s orphans", err, h.ask(orphans))
			}
		})
	})
}

func TestARowThatSomebodyHolds(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, map[string]string{"max_prepared_transactions": "5"})
		h := partHistory(t, s, mergeItems, `update items set n = 5 where id = 1`, "")
		changing := h.begun(`update items set n = 7 where id = 1`)
		h.endsOnceBlocked(changing, "commit")
		h.merge(withApply, func(in *missing.MergeInput) { in.LockWait = time.Minute })
		if diff := cmp.Diff("both-updated update items 1", h.said()); diff != "" {
			t.Errorf("a row that changed while the merge waited for it (-want +got):\n%s", diff)
		}
		h.on(`begin; update items set n = 8 where id = 1; prepare transaction 'it''s'`)
		_, err := h.try(withApply, func(in *missing.MergeInput) { in.LockWait = 100 * time.Millisecond })
		if !fault.Is(err, fault.Taken) || !strings.Contains(fault.HintOf(err), "it's") {
			t.Errorf("a row that a prepared transaction holds: %v, %s", err, fault.HintOf(err))
		}
		h.on(`rollback prepared 'it''s'`)
	})
}

// TestAMergeThatIsKilled ends the merging session at each phase. What it did is gone, and the next merge does all of it.
func TestAMergeThatIsKilled(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, nil)
		h := partHistory(t, s, mergeOrders+`create table log (v text)`, `insert into customers values (4, 'd@x', 1); delete from orders where id = 1; insert into log values ('a'), ('a')`, "")
		before := h.rows("customers") + h.rows("orders") + h.rows("log")
		killed := 0
		for step := 1; ; step++ {
			conn := postgrestest.Open(t, s, h.active)
			n := 0
			kill := func() {
				if n++; n == step {
					postgrestest.Query(t, s, "postgres", "select pg_terminate_backend("+h.pid(conn)+", 60000)")
				}
			}
			_, err := missing.Merge(t.Context(), h.input(conn, withApply, func(in *missing.MergeInput) {
				in.Progress = func(string, int64, int64) { kill() }
				report, keep := in.Report, in.Undo
				in.Report = func(c missing.Change) error { kill(); return report(c) }
				in.Undo = func(ctx context.Context, u missing.Undo) error { err := keep(ctx, u); kill(); return err }
			}))
			conn.Close(context.Background())
			if err == nil {
				break
			}
			killed++
			if !fault.Is(err, fault.Transient) {
				t.Errorf("step %d: %v", step, err)
			}
			if diff := cmp.Diff(before, h.rows("customers")+h.rows("orders")+h.rows("log")); diff != "" {
				t.Fatalf("step %d left something (-want +got):\n%s", step, diff)
			}
		}
		if killed < 10 {
			t.Errorf("killed at %d steps only", killed)
		}
		if got := h.rows("log") + h.rows("orders"); got != "(a) (a)(2,3,y)" {
			t.Errorf("after all: %s", got)
		}
	})
}

func (h *mergeHistory) pid(conn *pgx.Conn) string {
	return strconv.FormatUint(uint64(conn.PgConn().PID()), 10)
}

// deafConn loses what the server answers to a commit.
type deafConn struct {
	net.Conn
	deaf bool
}

func (c *deafConn) Write(b []byte) (int, error) {
	c.deaf = c.deaf || bytes.Contains(b, []byte("Q\x00\x00\x00\x0bcommit\x00"))
	return c.Conn.Write(b)
}

func (c *deafConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.deaf {
		return 0, errors.Join(err, errors.New("the line is cut"))
	}
	return n, err
}

func TestACommitThatIsNotAcknowledged(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, nil)
		h := partHistory(t, s, mergeItems+`create table log (v text)`, `insert into items values (4, 'd', 4); insert into log values ('a'), ('a')`, `insert into log values ('a')`)
		cfg, err := pgx.ParseConfig(postgrestest.Source(s, "postgres", h.active).ConnString)
		postgrestest.Check(t, err)
		dial := cfg.DialFunc
		cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			return &deafConn{Conn: c}, err
		}
		conn, err := pgx.ConnectConfig(t.Context(), cfg)
		postgrestest.Check(t, err)
		defer conn.Close(context.Background())
		if _, err := missing.Merge(t.Context(), h.input(conn, withApply)); err == nil {
			t.Fatal("the answer was not lost")
		}
		if got := h.rows("items") + h.rows("log"); got != "(1,a,1) (2,b,2) (3,c,3) (4,d,4)(a) (a) (a)" {
			t.Fatalf("after the first: %s", got)
		}
		h.merge(withApply)
		if diff := cmp.Diff("same insert items 4\nsame insert log\nsame insert log", h.said()); diff != "" {
			t.Errorf("the second time (-want +got):\n%s", diff)
		}
	})
}
