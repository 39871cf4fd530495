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

func (s *script) takeOut(t Table, have []*string) {
	if !slices.Contains(s.moved, t.full()) {
		s.moved = append(s.moved, t.full())
		s.printf("create temp table smartdr_aside_%d (like %s) on commit drop;\n", len(s.moved)-1, t.full())
	}
	s.printf("with gone as (delete from %s where %s returning *) insert into %s select * from gone;\n", t.full(), t.matches(have), s.aside(t))
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
