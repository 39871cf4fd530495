package missing

import (
	"fmt"
	"slices"
)

// moves reports whether an update changes a column that no two rows may have alike.
func (t Table) moves(have, want []*string) bool {
	return have != nil && want != nil && slices.ContainsFunc(t.Unique, func(i int) bool { return !alike(at(have, i), at(want, i)) })
}

func alike(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

// aside names the temporary table that holds a table's rows for a while.
func (s *script) aside(t Table) string {
	return fmt.Sprintf("pg_temp.smartdr_aside_%d", slices.Index(s.moved, t.full()))
}

func (t Table) full() string { return quote(t.Schema) + "." + quote(t.Name) }

// only names the table without those that inherit from it.
func (t Table) only() string {
	if t.Partitioned {
		return t.full()
	}
	return "only " + t.full()
}

func (s *script) takeOut(t Table, have []*string) {
	if !slices.Contains(s.moved, t.full()) {
		s.moved = append(s.moved, t.full())
		s.printf("create temp table smartdr_aside_%d (like %s) on commit drop;\n", len(s.moved)-1, t.full())
	}
	s.printf("with gone as (delete from %s where %s returning *) insert into %s select * from gone;\n", t.only(), t.matches(have), s.aside(t))
}

// putBack writes the rows that were taken out, with all of their columns but those that are computed.
func (s *script) putBack() {
	for i, name := range s.moved {
		s.printf(`do $$ begin
	execute (select format('insert into %%1$s (%%2$s) overriding system value select %%2$s from pg_temp.smartdr_aside_%d', attrelid::regclass, string_agg(quote_ident(attname), ', '))
		from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped and attgenerated = '' group by attrelid);
end $$;
`, i, literal(name))
	}
}

// owners reports whether the table says which large objects there are. Their pages are rows as any others.
func (t Table) owners() bool { return t.Schema == "pg_catalog" && t.Name == largeObjectOwners }

// owner writes what becomes of a large object, behind its pages.
func (s *script) owner(t Table, have, want []*string) {
	value := func(row []*string, column string) *string {
		return at(row, max(0, slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == column })))
	}
	if want == nil {
		oid := show(value(have, "oid"))
		s.printf("select lo_unlink(oid) from pg_catalog.pg_largeobject_metadata where oid = %s and not exists (select from pg_catalog.pg_largeobject where loid = %[1]s);\n", oid)
		return
	}
	condition, before, owner := "exists", "", value(want, "lomowner")
	if have == nil {
		condition, before = "not exists", fmt.Sprintf("perform lo_create(%s); ", show(value(want, "oid")))
	}
	if owner == nil {
		return
	}
	s.printf("do $smartdr$ begin if %s (select from pg_catalog.pg_largeobject_metadata where oid = %s) then %sexecute format('alter large object %%s owner to %%I', %[2]s, %[4]s); end if; end $smartdr$;\n",
		condition, show(value(want, "oid")), before, show(owner))
	if rights := value(want, "lomacl"); rights != nil {
		s.printf("-- the rights on it were %s: grant them\n", oneLine(show(rights)))
	}
}
