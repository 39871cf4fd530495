package topology_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/topology"
)

// feeder is the role of the subscription's publisher.
const feeder = "feeder"

// createPipelines makes what feeds and drives the shop: a subscription to a server outside of the group, foreign tables there,
// an event trigger; and what others take from it: a publication and a logical slot.
func (w *world) createPipelines() {
	w.t.Helper()
	w.run(w.feed, "postgres", w.role(feeder, "login replication"), "create database source")
	w.run(w.feed, "source",
		"create table events (id bigint primary key, body text)", "create table prices (id int primary key, price numeric)",
		"insert into events select g, md5(g::text) from generate_series(1, 1000) g", "insert into prices select g, g from generate_series(1, 50) g",
		"grant select on events, prices to feeder", "create publication out for table events")
	p := w.space(mainSpace).was
	connection := fmt.Sprintf("host=127.0.0.1 port=%d dbname=source user=feeder password=%s application_name=shop", w.feed.Port, w.passwords[feeder])
	w.run(p, shopDB,
		"create table public.events (id bigint primary key, body text)",
		"create subscription shop_feed connection '"+connection+"' publication out",
		"create extension postgres_fdw", "create server market foreign data wrapper postgres_fdw options (host '127.0.0.1', port '"+fmt.Sprint(w.feed.Port)+"', dbname 'source')",
		"create user mapping for app server market options (user 'feeder', password '"+w.passwords[feeder]+"')", "grant usage on foreign server market to app",
		"create foreign table sales.prices (id int, price numeric) server market options (schema_name 'public', table_name 'prices')", "grant select on sales.prices to app",
		"create table sales.ddl_log (at timestamptz default now(), tag text)",
		`create function sales.note_ddl() returns event_trigger language plpgsql security definer as 'begin insert into sales.ddl_log (tag) values (tg_tag); end'`,
		"create event trigger note_ddl on ddl_command_end execute function sales.note_ddl()", "alter event trigger note_ddl enable always",
		"create publication warehouse_feed for table sales.orders (id, amount) where (amount > 10), table sales.paid with (publish = 'insert')",
		"select pg_create_logical_replication_slot('warehouse', 'pgoutput')",
	)
	w.waitFed(1000)
}

// changePipelines lets more events arrive once the snapshot is taken, and waits until they have.
func (w *world) changePipelines() {
	w.t.Helper()
	w.feedEvents(1001, 1500)
	w.waitFed(1500)
}

func (w *world) feedEvents(from, to int) {
	w.t.Helper()
	w.run(w.feed, "source", fmt.Sprintf("insert into events select g, md5(g::text) from generate_series(%d, %d) g", from, to))
}

// waitFed waits until the shop has every event up to one.
func (w *world) waitFed(last int) {
	w.t.Helper()
	s := w.space(mainSpace)
	at := s.was
	if s.is != nil {
		at = s.is
	}
	var n, most int
	devtest.Until(w.t, fmt.Sprintf("%d events to arrive", last), func() bool {
		w.scan(at, shopDB, "select count(*), coalesce(max(id), 0) from public.events", &n, &most)
		return n >= last
	})
	if n != last || most != last {
		w.t.Errorf("%d events up to %d arrived, want %d, each once", n, most, last)
	}
}

// waitFeedRests waits until the publisher has written nothing for longer than a server lets pass between two records of which transactions run
// (LOG_SNAPSHOT_INTERVAL_MS, 15 s): what its subscriber confirms of such a record is of no transaction that could be proved to be here.
func (w *world) waitFeedRests() {
	w.t.Helper()
	var last string
	var since time.Time
	devtest.Until(w.t, "the publisher to rest", func() bool {
		var now string
		w.scan(w.feed, "postgres", "select pg_current_wal_insert_lsn()::text", &now)
		if now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 17*time.Second
	})
}

// checkFeedRuns: its publisher had nothing new for a while, so that what it confirmed is proved to be here.
func (w *world) checkFeedRuns(op topology.Operation) {
	w.t.Helper()
	var enabled bool
	w.scan(w.space(mainSpace).is, shopDB, "select subenabled from pg_subscription where subname = 'shop_feed'", &enabled)
	notes := recovered(w.t, op, mainSpace).Notes
	says := slices.ContainsFunc(notes, func(n string) bool { return mentions(n, "shop_feed") && strings.Contains(n, "runs again") })
	if !enabled || !says {
		w.t.Fatalf("the subscription runs: %v, and the account says so: %v: %q", enabled, says, notes)
	}
}

func (w *world) checkPipelines(op topology.Operation) {
	w.told(op, mainSpace, "shop_feed", "warehouse")
	s := w.space(mainSpace).is
	w.checkFeedRuns(op)
	w.feedEvents(1501, 1600)
	w.waitFed(1600)
	if err := w.attempt(s, "127.0.0.1", "app", w.passwords["app"], shopDB, "select 1 / count(*) from sales.prices"); err != nil {
		w.t.Errorf("the foreign table is not to be read: %v", err)
	}
	var then, now int
	w.scan(s, shopDB, "select count(*) from sales.ddl_log", &then)
	if err := w.attempt(s, "127.0.0.1", "dba", w.passwords["dba"], shopDB, "create table public.made_after ()"); err != nil {
		w.t.Fatal(err)
	}
	w.scan(s, shopDB, "select count(*) from sales.ddl_log", &now)
	if now != then+1 {
		w.t.Errorf("the event trigger wrote %d lines, want 1", now-then)
	}
}
