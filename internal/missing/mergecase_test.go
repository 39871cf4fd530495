package missing_test

import "github.com/smartdr/smartdr/internal/missing"

const mergeItems = `create table items (id int primary key, name text, n int); insert into items values (1, 'a', 1), (2, 'b', 2), (3, 'c', 3);`

const mergeOrders = `create table customers (id int primary key, email text unique, boss int references customers deferrable);
	create table orders (id int primary key, customer int references customers, note text);
	insert into customers values (1, 'a@x', null), (2, 'b@x', 1), (3, 'c@x', null); insert into orders values (1, 1, 'x'), (2, 3, 'y');`

var mergeCases = []mergeCase{
	{
		name: "missing", schema: mergeItems,
		old:   `insert into items values (4, 'd', 4); update items set n = 20 where id = 2; delete from items where id = 3`,
		said:  "missing update items 2 +\nmissing delete items 3 +\nmissing insert items 4 +",
		table: "items", rows: "(1,a,1) (2,b,20) (4,d,4)",
	},
	{
		name: "the same on both sides", schema: mergeItems,
		old:    `insert into items values (4, 'd', 4); update items set n = 20 where id = 2; delete from items where id = 3`,
		active: `insert into items values (4, 'd', 4); update items set n = 20 where id = 2; delete from items where id = 3`,
		said:   "alike update items 2\nsame delete items 3\nsame insert items 4",
		table:  "items", rows: "(1,a,1) (2,b,20) (4,d,4)",
	},
	{
		name: "a counter that both sides lowered holds nothing back", schema: mergeItems, change: []func(*missing.MergeInput){withWhole},
		old:    `begin; update items set n = n - 50 where id = 1; insert into items values (4, 'd', 4); commit`,
		active: `update items set n = n - 50 where id = 1`,
		said:   "alike update items 1\nmissing insert items 4 +",
		table:  "items", rows: "(1,a,-49) (2,b,2) (3,c,3) (4,d,4)",
	},
	{
		name: "conflicts are kept", schema: mergeItems,
		old:    `insert into items values (4, 'd', 4); update items set n = 10 where id = 1; update items set n = 20 where id = 2; delete from items where id = 3`,
		active: `insert into items values (4, 'e', 5); update items set n = 11 where id = 1; delete from items where id = 2; update items set n = 30 where id = 3`,
		said:   "both-updated update items 1\nupdated-deleted update items 2\ndeleted-updated delete items 3\nboth-inserted insert items 4",
		table:  "items", rows: "(1,a,11) (3,c,30) (4,e,5)",
	},
	{
		name: "conflicts are taken", schema: mergeItems, change: []func(*missing.MergeInput){withTheirs},
		old:    `insert into items values (4, 'd', 4); update items set n = 10 where id = 1; update items set n = 20 where id = 2; delete from items where id = 3`,
		active: `insert into items values (4, 'e', 5); update items set n = 11 where id = 1; delete from items where id = 2; update items set n = 30 where id = 3`,
		said:   "both-updated update items 1 +\nupdated-deleted update items 2 +\ndeleted-updated delete items 3 +\nboth-inserted insert items 4 +",
		table:  "items", rows: "(1,a,10) (2,b,20) (4,d,4)",
	},
	{
		name: "what one transaction wrote and another one wrote over is of the other", schema: mergeItems, change: []func(*missing.MergeInput){withWhole},
		old: `begin; insert into items values (4, 'd', 4); insert into items values (5, 'e', 5); commit; begin; insert into items values (6, 'f', 6); commit;
			begin; update items set n = 7 where id = 4; update items set n = 8 where id = 1; commit`,
		active: `insert into items values (5, 'other', 0)`,
		said:   "missing update items 1 +\nmissing insert items 4 +\nboth-inserted insert items 5\nmissing insert items 6 +",
		table:  "items", rows: "(1,a,8) (2,b,2) (3,c,3) (4,d,7) (5,other,0) (6,f,6)",
	},
	{
		name: "a transaction is held as a whole", schema: mergeItems, change: []func(*missing.MergeInput){withWhole},
		old:    `begin; insert into items values (4, 'd', 4); insert into items values (5, 'e', 5); commit; begin; insert into items values (6, 'f', 6); commit;`,
		active: `insert into items values (5, 'other', 0)`,
		said:   "held insert items 4\nboth-inserted insert items 5\nmissing insert items 6 +",
		table:  "items", rows: "(1,a,1) (2,b,2) (3,c,3) (5,other,0) (6,f,6)",
	},
	{
		name:   "rows without a key are counted",
		schema: `create table log (at int, text text); insert into log values (1, 'x'), (1, 'x'), (1, 'x'), (2, null), (2, null), (3, 'z')`,
		old:    `delete from log where ctid in (select ctid from log where at = 1 limit 2); insert into log values (4, null), (4, null); delete from log where at = 3`,
		active: `delete from log where at = 3; insert into log values (4, null)`,
		said:   "missing delete log +\nmissing delete log +\nno-key delete log\nmissing insert log +\nmissing insert log +",
		table:  "log", rows: "(1,x) (2,) (2,) (4,) (4,) (4,)",
	},
	{
		name: "a unique key that somebody else took", schema: mergeOrders,
		old:    `insert into customers values (4, 'd@x', null), (5, 'e@x', 4); insert into orders values (3, 5, 'z')`,
		active: `insert into customers values (9, 'd@x', null)`,
		said:   "unique insert customers 4\nfk-parent insert customers 5\nfk-parent insert orders 3",
		table:  "customers", rows: "(1,a@x,) (2,b@x,1) (3,c@x,) (9,d@x,)",
	},
	{
		name: "unique keys change places", schema: mergeOrders,
		old: `update customers set email = 't' where id = 1; update customers set email = 'a@x' where id = 2; update customers set email = 'b@x' where id = 1;
			update customers set email = 'd@x' where id = 3; insert into customers values (4, 'c@x', null)`,
		said:  "missing update customers 1 +\nmissing update customers 2 +\nmissing update customers 3 +\nmissing insert customers 4 +",
		table: "customers", rows: "(1,b@x,) (2,a@x,1) (3,d@x,) (4,c@x,)",
	},
	{
		name: "a parent that is gone, and one that is referred to", schema: mergeOrders,
		old:    `insert into orders values (4, 2, 'n'); delete from orders where customer = 3; delete from customers where id = 3`,
		active: `delete from customers where id = 2; insert into orders values (7, 3, 'new')`,
		said:   "fk-child delete customers 3\nmissing delete orders 2 +\nfk-parent insert orders 4",
		table:  "orders", rows: "(1,1,x) (7,3,new)",
	},
	{
		name:   "generated and identity columns, and columns that the set does not know",
		schema: `create table g (id int generated always as identity primary key, a int, twice int generated always as (a * 2) stored); insert into g (a) values (1), (2)`,
		old:    `insert into g (a) values (3); update g set a = 20 where id = 2`,
		active: `alter table g add column extra text default 'dflt'; update g set extra = 'mine' where id = 2`,
		said:   "missing update g 2 +\nmissing insert g 3 +",
		table:  "g", rows: "(1,1,2,dflt) (2,20,40,mine) (3,3,6,dflt)",
	},
	{
		name:   "renamed on the active side",
		schema: mergeItems,
		old:    `insert into items values (4, 'd', 4); update items set n = 20 where id = 2`,
		active: `create schema other; alter table items rename to things; alter table things set schema other; alter table other.things rename column n to "the n"`,
		said:   "missing update things 2 +\nmissing insert things 4 +",
		table:  "other.things", rows: "(1,a,1) (2,b,20) (3,c,3) (4,d,4)",
	},
	{
		name:   "a column that is gone",
		schema: mergeItems,
		old:    `insert into items values (4, 'd', 4), (5, 'e', null); update items set n = 20 where id = 2; update items set name = 'A' where id = 1`,
		active: `alter table items drop column n`,
		said:   "missing update items 1 +\nschema-drift update items 2\nschema-drift insert items 4\nmissing insert items 5 +",
		table:  "items", rows: "(1,A) (2,b) (3,c) (5,e)",
	},
	{
		name:   "constraints that the active side has",
		schema: mergeItems,
		old:    `insert into items values (4, 'd', 4), (5, 'e', -5), (6, null, 6); update items set n = -2 where id = 2`,
		active: `alter table items add check (n > 0); alter table items alter name set not null`,
		said:   "schema-drift update items 2\nmissing insert items 4 +\nschema-drift insert items 5\nschema-drift insert items 6",
		table:  "items", rows: "(1,a,1) (2,b,2) (3,c,3) (4,d,4)",
	},
	{
		name: "large objects",
		schema: `create table bytes (loid oid, got bytea); select lo_from_bytea(50001, repeat('a', 5000)::bytea), lo_from_bytea(50002, 'two'), lo_from_bytea(50003, 'three'),
			lo_from_bytea(50004, 'four'), lo_from_bytea(50005, 'five')`,
		old: `select lo_put(50001, 4096, 'new'), lo_unlink(50002), lo_unlink(50003), lo_from_bytea(50006, repeat('s', 3000)::bytea), lo_put(50004, 0, 'FOUR'), lo_put(50005, 0, 'FIVE'), lo_from_bytea(50007, 'alike');
			grant select on large object 50006 to public`,
		active: `select lo_put(50003, 0, 'THREE'), lo_put(50004, 0, 'foUR'), lo_unlink(50005), lo_from_bytea(50007, 'alike')`,
		said: `missing update pg_largeobject 50001 2 +
missing delete pg_largeobject 50002 0 +
deleted-updated delete pg_largeobject 50003 0
both-updated update pg_largeobject 50004 0
updated-deleted update pg_largeobject 50005 0
missing insert pg_largeobject 50006 0 +
missing insert pg_largeobject 50006 1 +
same insert pg_largeobject 50007 0
missing delete pg_largeobject_metadata 50002 +
fk-child delete pg_largeobject_metadata 50003
missing insert pg_largeobject_metadata 50006 +
same insert pg_largeobject_metadata 50007`,
		table: "(select oid, length(lo_get(oid)), right(convert_from(lo_get(oid), 'UTF8'), 7), lomacl is null from pg_largeobject_metadata)",
		rows:  "(50001,5000,aaaaaaa,t) (50003,5,THREE,t) (50004,4,foUR,t) (50006,3000,sssssss,f) (50007,5,alike,t)",
	},
}
