package topology_test

import (
	"fmt"

	"github.com/smartdr/smartdr/internal/topology"
)

// shopDB has an owner that cannot log in, and a dozen roles that may do different things in it.
const shopDB = "shop"

// createUsers makes roles that are members of each other, and own and grant across each other.
func (w *world) createUsers() {
	w.t.Helper()
	p := w.space(mainSpace).was
	w.run(p, "postgres",
		"create role shop_owner nologin",
		"create role readers nologin", "create role writers nologin",
		w.role("app", "login"), w.role("report", "login connection limit 20"), w.role("analyst", "login noinherit valid until '2099-01-01'"),
		w.role("deploy", "login createdb createrole"), w.role("batch", "login bypassrls"), w.role("auditor", "login"),
		w.role("tenant_a", "login"), w.role("tenant_b", "login"), w.role("dba", "login superuser"), w.role("cdc", "login replication"),
		w.role(`Strange "Name"`, "login"),
		"create role locked login", // without a password: nobody gets in
		"create database "+shopDB+" owner shop_owner",
		"revoke connect, temporary on database "+shopDB+" from public",
		fmt.Sprintf("grant connect on database %s to smartdr, app, report, analyst, deploy, batch, auditor, tenant_a, tenant_b, locked, cdc", shopDB),
		"grant connect on database "+shopDB+` to "Strange ""Name""" with grant option`,
		"comment on role analyst is 'reads, and may become a writer'",
	)
	w.createMemberships()
	w.createShop()
	w.grantInShop()
	w.run(p, "postgres",
		"alter role report set default_transaction_read_only = on", "alter role analyst in database shop set work_mem = '12MB'",
		"alter database shop set timezone = 'Asia/Tokyo'", "alter role all set idle_in_transaction_session_timeout = '10min'",
		"alter role app set search_path = sales, public", "grant set on parameter log_min_duration_statement to analyst")
}

func (w *world) createMemberships() {
	w.t.Helper()
	p := w.space(mainSpace).was
	w.run(p, "postgres",
		"grant readers to report with admin option", "grant readers to writers", "grant writers to app", "grant writers to analyst",
		"grant pg_read_all_data to auditor", "grant pg_signal_backend to deploy", "grant shop_owner to deploy")
	if p.Bin.Major() >= 16 {
		w.run(p, "postgres", "grant readers to tenant_a with inherit false, set true", "grant readers to tenant_b with inherit true, set false granted by report")
	}
}

// createShop makes what is owned, as its owner.
func (w *world) createShop() {
	w.t.Helper()
	w.run(w.space(mainSpace).was, shopDB,
		"create schema sales authorization shop_owner", "create schema private authorization deploy",
		`set role shop_owner; create table sales.customers (id int primary key generated always as identity, name text not null, card text, tenant name not null default current_user)`,
		`set role shop_owner; create table sales.orders (id bigserial primary key, customer int not null references sales.customers, amount numeric(12,2) not null check (amount > 0),
			placed timestamptz not null default now()) with (fillfactor = 80)`,
		`set role shop_owner; create table sales.paid (id int primary key)`,
		`set role shop_owner; create type sales.state as enum ('new', 'paid'); create domain sales.euro as numeric(12,2) check (value >= 0)`,
		`set role shop_owner; create view sales.totals with (security_barrier) as select customer, sum(amount) as total from sales.orders group by customer`,
		`set role shop_owner; create materialized view sales.best as select name from sales.customers order by id limit 10`,
		`set role deploy; create function private.card_of(c int) returns text language sql stable security definer set search_path = sales as 'select card from customers where id = c'`,
		`set role shop_owner; create procedure sales.pay(o bigint) language sql as 'update sales.orders set amount = amount where id = o'`,
		`set role shop_owner; alter table sales.customers enable row level security; alter table sales.customers force row level security`,
		`create policy own on sales.customers for all to tenant_a, tenant_b using (tenant = current_user) with check (tenant = current_user)`,
		`create policy readable on sales.customers for select to readers, shop_owner using (true)`,
		`create policy writable on sales.customers for all to shop_owner using (true)`,
		`insert into sales.customers (name, card, tenant) select 'customer ' || g, 'card ' || g, case when g % 2 = 0 then 'tenant_a' else 'tenant_b' end from generate_series(1, 500) g`,
		`insert into sales.orders (customer, amount) select g % 500 + 1, g from generate_series(1, 2000) g`,
		`refresh materialized view sales.best`,
	)
}

func (w *world) grantInShop() {
	w.t.Helper()
	w.run(w.space(mainSpace).was, shopDB,
		"grant usage on schema sales to readers, tenant_a, tenant_b, batch", "grant create on schema sales to writers",
		"grant select on sales.orders, sales.totals, sales.best to readers", "grant insert, update on sales.orders to writers with grant option",
		"grant select (id, name) on sales.customers to readers", "grant update (name) on sales.customers to writers",
		"grant select, insert on sales.customers to tenant_a, tenant_b", "grant select on sales.customers to batch",
		"grant usage on sequence sales.orders_id_seq to writers", "revoke execute on function private.card_of(int) from public",
		"grant usage on schema private to auditor", "grant execute on function private.card_of(int) to auditor",
		"revoke execute on procedure sales.pay(bigint) from public", "grant execute on procedure sales.pay(bigint) to app",
		"grant usage on type sales.state to readers", "revoke usage on language plpgsql from public", "grant usage on language plpgsql to deploy",
		"set role app; grant insert on sales.orders to batch", // by one who was given the grant option
		"alter default privileges for role shop_owner in schema sales grant select on tables to readers",
		"alter default privileges for role shop_owner revoke execute on functions from public",
		"alter default privileges for role deploy grant usage on sequences to writers",
		"set role shop_owner; create table sales.later (id int)", // gets its grants from these
	)
}

// changeUsers changes what the snapshot holds.
func (w *world) changeUsers() {
	w.t.Helper()
	p := w.space(mainSpace).was
	w.run(p, shopDB, "drop owned by locked")
	w.run(p, "postgres",
		"drop role locked", w.role("newcomer", "login in role readers"), "grant connect on database shop to newcomer",
		w.password("report"), "alter role batch nobypassrls", "alter role app set lock_timeout = '5s'", "alter role report reset default_transaction_read_only")
	w.run(p, shopDB, "reassign owned by deploy to shop_owner", "revoke select (name) on sales.customers from readers")
}

// try is one statement as one role, and how it must end.
type try struct {
	role, statement string
	code            string // SQLSTATE; empty: it works
}

// mayDo is what roles may do in the shop, before and after.
var mayDo = []try{
	{"report", "select id from sales.customers", ""},
	{"report", "select name from sales.customers", forbidden}, // revoked while replication ran
	{"report", "insert into sales.orders (customer, amount) values (1, 1)", forbidden},
	{"newcomer", "select * from sales.later", ""},                      // by default privileges
	{"app", "insert into orders (customer, amount) values (1, 1)", ""}, // by its search_path
	{"app", "call sales.pay(1)", ""},
	{"analyst", "select id from sales.customers", forbidden}, // does not inherit
	{"analyst", "set role writers; update sales.orders set amount = 2 where id = 1", ""},
	{"auditor", "select card from sales.customers", ""},
	{"auditor", "select private.card_of(1)", ""},
	{"app", "select private.card_of(1)", forbidden},
	{"batch", "select 1 / count(*) from sales.customers", divisionByZero}, // row security shows it none
	{"tenant_a", "select 1 / (count(*) filter (where tenant = 'tenant_b')) from sales.customers", divisionByZero},
	{"tenant_a", "insert into sales.customers (name, tenant) values ('x', 'tenant_b')", forbidden},
	{"tenant_a", "insert into sales.customers (name) values ('mine')", ""},
	{"dba", "select * from sales.customers", ""},
	{`Strange "Name"`, "grant connect on database shop to cdc", ""},
}

const (
	forbidden      = "42501"
	divisionByZero = "22012"
	wrongPassword  = "28P01"
	notLetIn       = "28000"
)

// checkUsers logs every role in with its password and lets it try.
func (w *world) checkUsers(topology.Operation) {
	s := w.space(mainSpace).is
	for role, password := range w.passwords {
		if role == teller || role == feeder {
			continue // they are at home elsewhere
		}
		for _, c := range []struct{ password, code string }{{password, ""}, {"guess", wrongPassword}} {
			if got := sqlState(w.attempt(s, "127.0.0.1", role, c.password, shopDB, "select 1")); got != c.code {
				w.t.Errorf("%s with password %t: SQLSTATE %q, want %q", role, c.code == "", got, c.code)
			}
		}
	}
	for _, m := range mayDo {
		err := w.attempt(s, "127.0.0.1", m.role, w.passwords[m.role], shopDB, "begin; "+m.statement+"; rollback")
		if got := sqlState(err); got != m.code {
			w.t.Errorf("%s: %s: SQLSTATE %q, want %q: %v", m.role, m.statement, got, m.code, err)
		}
	}
}
