package missing

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// typeTable knows which types have an equality of their own: the one that their default B-tree or hash operator class has. An operator that is
// only called "=" is not asked: that of box compares areas.
type typeTable struct {
	of    map[uint32]pgType
	known map[uint32]bool
}

type pgType struct {
	kind     string   // typtype
	base     uint32   // of a domain
	element  uint32   // of an array
	class    bool     // it has an operator class, or is taken for a type that has one
	contains []uint32 // columns of a composite
}

const typesSQL = `with class as (select o.opcintype from pg_opclass o join pg_am m on m.oid = o.opcmethod where o.opcdefault and m.amname in ('btree', 'hash'))
	select t.oid, t.typtype::text, t.typbasetype, case when t.typcategory = 'A' then t.typelem else 0 end,
	exists (select from class where opcintype = t.oid) or exists (select from pg_cast k join class on opcintype = k.casttarget
		where k.castsource = t.oid and k.castmethod = 'b' and k.castcontext = 'i'),
	coalesce((select array_agg(a.atttypid) from pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped), '{}')
	from pg_type t where t.typtype <> 'p'`

func readTypes(ctx context.Context, conn *pgx.Conn) (*typeTable, error) {
	all := &typeTable{of: map[uint32]pgType{}, known: map[uint32]bool{}}
	var oid uint32
	var t pgType
	err := each(ctx, conn, typesSQL, []any{&oid, &t.kind, &t.base, &t.element, &t.class, &t.contains}, func() {
		all.of[oid] = t
		t.contains = nil
	})
	return all, err
}

// comparable reports whether values of a type can be told equal by the server.
func (a *typeTable) comparable(oid uint32) bool {
	if known, ok := a.known[oid]; ok {
		return known
	}
	a.known[oid] = true // while a composite that has an array of itself is looked at
	a.known[oid] = a.judge(a.of[oid])
	return a.known[oid]
}

func (a *typeTable) judge(t pgType) bool {
	switch {
	case t.class, t.kind == "e", t.kind == "r", t.kind == "m":
		return true
	case t.kind == "d":
		return a.comparable(t.base)
	case t.element != 0:
		return a.comparable(t.element)
	case t.kind != "c":
		return false
	}
	for _, c := range t.contains {
		if !a.comparable(c) {
			return false
		}
	}
	return true
}
