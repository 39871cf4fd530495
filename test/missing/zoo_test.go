package missing_test

import "strings"

// kind is a table, or a group of them, beside those that each history has. Each has something that could go wrong.
type kind struct {
	tables []string
	sql    string
	change func(h *history) string // makes a statement that changes rows of it
}

// Short texts are varchar, so that their tables have no TOAST tables: copies of a server take as long as it has files.
var kinds = []kind{
	{[]string{"parents", "kids", "strict"}, `
create table parents (id int primary key, code int unique, v varchar(20));
create table kids (id int primary key, parent int references parents on delete cascade, code int references parents (code), v varchar(20));
create table strict (id int primary key, parent int not null references parents, v varchar(20));`, (*history).family},
	{[]string{"tree"}, `create table tree (id int primary key, up int references tree on delete set null, v varchar(20));`, (*history).tree},
	{[]string{"bag"}, "", (*history).bag},
	{[]string{"parts", "parts_1"}, `
create table parts (id int, region int, v varchar(20), primary key (id, region)) partition by list (region);
create table parts_0 partition of parts for values in (0);
create table parts_1 (v varchar(20), region int not null, gone int, id int not null);
alter table parts_1 drop column gone; alter table parts attach partition parts_1 for values in (1);
create table parts_d partition of parts default;`, (*history).parts},
	{[]string{"moves", "moves_low"}, `
create table moves (k int, r int, v varchar(20)) partition by range (r);
create table moves_low partition of moves for values from (minvalue) to (3);
create table moves_high partition of moves for values from (3) to (maxvalue);`, (*history).moves},
	{[]string{"ident"}, `create table ident (id int generated always as identity primary key, v varchar(20));`, (*history).ident},
	{[]string{"toasty"}, `create table toasty (id int primary key, n int, big text); alter table toasty alter big set storage external;`, (*history).toasty},
	{[]string{"slots"}, `create table slots (id int primary key, during int4range, exclude using gist (during with &&));`, (*history).slots},
	{[]string{"docs"}, `
create type mood as enum ('sad', 'ok', 'happy');
create domain small as int check (value < 1000);
create table docs (id int primary key, j json, x xml, p point, m mood, num numeric, arr text[], s small);`, (*history).docs},
	{[]string{"twokey"}, `create table twokey (v varchar(20), a int not null, b varchar(20) not null, unique (b, a));`, (*history).twokey},
	{[]string{"inhp", "inhc"}, `create table inhp (id int primary key, v varchar(20)); create table inhc (primary key (id)) inherits (inhp);`, (*history).inherited},
	{nil, `create sequence counter;`, (*history).others},
}

// kindsPerSchema is how many of them a schema has: few, so that a history's statements meet.
const kindsPerSchema = 3

// kindsOf are those of one schema.
func kindsOf(schema int) (out []kind) {
	for i := range kindsPerSchema {
		out = append(out, kinds[(schema+i*(1+schema/len(kinds)))%len(kinds)])
	}
	return out
}

// zoo returns SQL that makes the tables of a history.
func zoo(schema, major int) string {
	virtual := ""
	if major >= 18 {
		virtual = ", w int generated always as (n + 1) virtual"
	}
	sql := strings.NewReplacer("@", schemaName(schema), "#virtual", virtual).Replace(`
create schema @; set search_path = @;
create table items (id int primary key, u int unique, v varchar(40), n int not null default 0, touched int not null default 0,
  g int generated always as (n * 2) stored #virtual);
create table audit (op varchar(10), id int, u int);
create function touch() returns trigger language plpgsql as $$ begin new.touched := new.touched + 1; return new; end $$;
create function audited() returns trigger language plpgsql as
  $$ begin insert into @.audit select tg_op, coalesce(new.id, old.id), coalesce(new.u, old.u); return null; end $$;
create trigger touch before insert or update on items for each row execute function touch();
create trigger audited after insert or update or delete on items for each row execute function audited();
create table bag (a int, b varchar(20));
create table shape (id int primary key, a int, b varchar(20), c varchar(20));
create table twop (id int primary key, v varchar(20));
`)
	for _, k := range kindsOf(schema) {
		sql += k.sql
	}
	return sql
}
