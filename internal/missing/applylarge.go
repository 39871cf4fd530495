package missing

import (
	"context"
	"fmt"
)

// largeObjectOwners is the name of the catalog that says which large objects there are.
const largeObjectOwners = "pg_largeobject_metadata"

// system reports whether the table is a catalog, as which large objects are listed. Their pages are written as rows, which superusers may.
func (t *mergeTable) system() bool {
	return t.Schema == "pg_catalog" && (t.Name == LargeObjects || t.Name == largeObjectOwners)
}

// large reports whether the table's rows are large objects as such, which only functions make and remove.
func (t *mergeTable) large() bool { return t.system() && t.Name == largeObjectOwners }

// special says of the owner's column that the set has a name.
func (t *mergeTable) special(c *mergeColumn) {
	if t.large() && c.name == "lomowner" {
		c.reads, c.writes, c.typ = "pg_get_userbyid(a.lomowner)", "to_regrole(quote_ident(%s))::oid", c.Type
	}
}

// largeForeign says that a page is nothing without its large object: what foreign keys say of other tables.
func largeForeign(byOID map[uint32]*mergeTable) []foreignKey {
	k := foreignKey{
		name: "its large object", child: byOID[largeObjects], parent: byOID[largeObjectOwner], childName: "pg_catalog." + LargeObjects, parentName: "pg_catalog." + largeObjectOwners,
		from: []string{"loid"}, to: []string{"oid"}, operators: []string{"OPERATOR(pg_catalog.=)"}, same: []string{"OPERATOR(pg_catalog.=)"},
	}
	if k.child == nil && k.parent == nil {
		return nil
	}
	return []foreignKey{k}
}

// applyOwners makes and removes large objects, and gives them their owners and rights.
func (m *merger) applyOwners(ctx context.Context, t *mergeTable) error {
	_, err := m.exec(ctx, fmt.Sprintf(`select count(lo_unlink(c.k1)) from %s c join pg_temp.smartdr_s s using (n) join %s a using (n) where s.p and c.t is null`,
		t.temp("c"), t.temp("a")))
	if err != nil {
		return err
	}
	return m.script(ctx, fmt.Sprintf(`do $smartdr$ declare r record; g record; begin
		for r in select f.*, not exists (select from %s a where a.n = s.n) as fresh from %s f join pg_temp.smartdr_s s on s.n = f.%s where s.p order by s.n loop
			if r.fresh then perform lo_create(r.oid); end if;
			execute format('alter large object %%s owner to %%s', r.oid, r.lomowner::regrole);
			for g in select distinct e.grantee from pg_largeobject_metadata o, aclexplode(o.lomacl) e where o.oid = r.oid and e.grantee <> r.lomowner loop
				execute format('revoke all on large object %%s from %%s', r.oid, case g.grantee when 0 then 'public' else g.grantee::regrole::text end);
			end loop;
			for g in select * from aclexplode(r.lomacl) e where e.grantee <> r.lomowner loop
				execute format('grant %%s on large object %%s to %%s', g.privilege_type, r.oid, case g.grantee when 0 then 'public' else g.grantee::regrole::text end)
					|| case when g.is_grantable then ' with grant option' else '' end;
			end loop;
		end loop; end $smartdr$`, t.temp("a"), t.temp("f"), numbered))
}
