package missing_test

import "strings"

// zoo returns SQL that makes the tables of a history, each with something that could go wrong.
func zoo(schema string, major int) string {
	virtual := ""
	if major >= 18 {
		virtual = ", w int generated always as (n + 1) virtual"
	}
	return strings.NewReplacer("@", schema, "#virtual", virtual).Replace(`
create schema @; set search_path = @;
create type mood as enum ('sad', 'ok', 'happy');
create domain small as int check (value < 1000);
create table items (id int primary key, u int unique, v text, n int not null default 0, touched int not null default 0,
  g int generated always as (n * 2) stored #virtual);
create table audit (op text, id int, u int);
create function touch() returns trigger language plpgsql as $$ begin new.touched := new.touched + 1; return new; end $$;
create function audited() returns trigger language plpgsql as
  $$ begin insert into @.audit select tg_op, coalesce(new.id, old.id), coalesce(new.u, old.u); return null; end $$;
create trigger touch before insert or update on items for each row execute function touch();
create trigger audited after insert or update or delete on items for each row execute function audited();
create table parents (id int primary key, code int unique, v text);
create table kids (id int primary key, parent int references parents on delete cascade, code int references parents (code), v text);
create table strict (id int primary key, parent int not null references parents, v text);
create table tree (id int primary key, up int references tree on delete set null, v text);
create table bag (a int, b text);
create table parts (id int, region int, v text, primary key (id, region)) partition by list (region);
create table parts_0 partition of parts for values in (0);
create table parts_1 (v text, region int not null, gone text, id int not null);
alter table parts_1 drop column gone; alter table parts attach partition parts_1 for values in (1);
create table parts_d partition of parts default;
create table moves (k int, r int, v text) partition by range (r);
create table moves_low partition of moves for values from (minvalue) to (3);
create table moves_high partition of moves for values from (3) to (maxvalue);
create table ident (id int generated always as identity primary key, v text);
create table toasty (id int primary key, n int, big text); alter table toasty alter big set storage external;
create table slots (id int primary key, during int4range, exclude using gist (during with &&));
create table docs (id int primary key, j json, x xml, p point, m mood, num numeric, arr text[], s small);
create table twokey (v text, a int not null, b text not null, unique (b, a));
create table inhp (id int primary key, v text);
create table inhc (primary key (id)) inherits (inhp);
create table shape (id int primary key, a int, b text, c text);
create table twop (id int primary key, v text);
create sequence counter;
`)
}
