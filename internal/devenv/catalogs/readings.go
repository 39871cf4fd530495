package catalogs

import "fmt"

// reading is one question to the catalogs. It answers with lines of text; secrets are digests in them.
type reading struct {
	what  string
	from  int // first PostgreSQL major that has it
	query string
}

// grants writes an ACL with its defaults spelled out. kind is that of acldefault.
func grants(acl, kind, owner string) string {
	return fmt.Sprintf(`array(select format('%%s has %%s%%s from %%s', case when x.grantee = 0 then 'public' else x.grantee::regrole::text end,
		x.privilege_type, case when x.is_grantable then ' with grant option' else '' end, x.grantor::regrole)
		from aclexplode(coalesce(%s, acldefault('%s', %s))) x order by 1)`, acl, kind, owner)
}

// digest hides a value and still tells it from another one.
func digest(value string) string {
	return fmt.Sprintf(`encode(sha256(convert_to(%s, 'UTF8')), 'hex')`, value)
}

// ofServer are read once for a server.
var ofServer = []reading{
	{"roles", 15, `select format('%s super %s inherit %s createrole %s createdb %s login %s replication %s bypassrls %s limit %s until %s password %s',
		rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil, ` + digest("rolpassword") + `) from pg_authid`},
	{"memberships", 15, `select format('%s in %s, granted by %s, admin %s', m.member::regrole, m.roleid::regrole, m.grantor::regrole, m.admin_option) from pg_auth_members m`},
	{"memberships' options", 16, `select format('%s in %s: inherit %s, set %s', m.member::regrole, m.roleid::regrole, m.inherit_option, m.set_option) from pg_auth_members m`},
	{"databases", 15, `select format('%s of %s, limit %s, template %s, connections %s, tablespace %s, encoding %s, provider %s, collate %s, ctype %s, collation version %s, %s',
		datname, datdba::regrole, datconnlimit, datistemplate, datallowconn, t.spcname, encoding, datlocprovider, datcollate, datctype, datcollversion, ` + grants("datacl", "d", "datdba") + `)
		from pg_database d join pg_tablespace t on t.oid = dattablespace`},
	{"tablespaces", 15, `select format('%s of %s, %s, %s', spcname, spcowner::regrole, spcoptions, ` + grants("spcacl", "t", "spcowner") + `) from pg_tablespace`},
	{"settings of roles and databases", 15, `select format('%s of %s: %s', coalesce(nullif(setrole, 0)::regrole::text, 'everybody'), coalesce(d.datname, 'every database'), setconfig)
		from pg_db_role_setting left join pg_database d on d.oid = setdatabase`},
	{"grants on settings", 15, `select format('%s: %s', parname, ` + grants("paracl", "p", "10") + `) from pg_parameter_acl`},
	{"comments", 15, `select format('%s %s: %s', classoid::regclass, objoid, description) from pg_shdescription`},
	{"prepared transactions", 15, `select format('%s of %s in %s, prepared at %s', gid, owner, database, prepared) from pg_prepared_xacts`},
	{"subscriptions", 15, `select format('%s of %s in %s: connection %s, slot %s, publications %s', subname, subowner::regrole, d.datname,
		` + digest("subconninfo") + `, subslotname, subpublications) from pg_subscription join pg_database d on d.oid = subdbid`},
}

// ofDatabase are read in each database.
var ofDatabase = []reading{
	{"schemas", 15, `select format('%s of %s, %s', nspname, nspowner::regrole, ` + grants("nspacl", "n", "nspowner") + `) from pg_namespace where nspname !~ '^pg_(toast_)?temp_'`},
	{"relations", 15, `select format('%s %s of %s, %s, tablespace %s, row security %s forced %s, %s, %s', relkind, c.oid::regclass, relowner::regrole, relpersistence, t.spcname,
		relrowsecurity, relforcerowsecurity, reloptions, ` + grants("relacl", "r", "relowner") + `)
		from pg_class c left join pg_tablespace t on t.oid = reltablespace where relkind in ('r', 'p', 'v', 'm', 'f')`},
	{"sequences", 15, `select format('%s of %s, %s', c.oid::regclass, relowner::regrole, ` + grants("relacl", "s", "relowner") + `) from pg_class c where relkind = 'S'`},
	{"columns", 15, `select format('%s.%s %s, %s, %s', attrelid::regclass, attname, format_type(atttypid, atttypmod), attcollation::regcollation, ` + grants("attacl", "c", "relowner") + `)
		from pg_attribute join pg_class c on c.oid = attrelid where attnum > 0 and not attisdropped and relkind in ('r', 'p', 'v', 'm', 'f', 'c')`},
	{"functions", 15, `select format('%s of %s, as its owner %s, %s, %s', p.oid::regprocedure, proowner::regrole, prosecdef, proconfig, ` + grants("proacl", "f", "proowner") + `) from pg_proc p`},
	{"types", 15, `select format('%s of %s, %s', t.oid::regtype, typowner::regrole, ` + grants("typacl", "T", "typowner") + `) from pg_type t`},
	{"languages", 15, `select format('%s of %s, %s', lanname, lanowner::regrole, ` + grants("lanacl", "l", "lanowner") + `) from pg_language`},
	{"default privileges", 15, `select format('of %s in %s on %s: %s', defaclrole::regrole, coalesce(nullif(defaclnamespace, 0)::regnamespace::text, 'every schema'), defaclobjtype,
		` + grants("defaclacl", "r", "defaclrole") + `) from pg_default_acl`},
	{"policies", 15, `select format('%s on %s, %s, %s: %s / %s', polname, polrelid::regclass, polcmd, array(select r::regrole from unnest(polroles) r),
		pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) from pg_policy`},
	{"indexes", 15, `select format('%s, tablespace %s, valid %s', pg_get_indexdef(indexrelid), t.spcname, indisvalid)
		from pg_index join pg_class c on c.oid = indexrelid left join pg_tablespace t on t.oid = c.reltablespace`},
	{"constraints", 15, `select format('%s on %s: %s', conname, conrelid::regclass, pg_get_constraintdef(oid)) from pg_constraint`},
	{"triggers", 15, `select format('%s %s', pg_get_triggerdef(oid), tgenabled) from pg_trigger where not tgisinternal`},
	{"event triggers", 15, `select format('%s on %s of %s: %s %s', evtname, evtevent, evtowner::regrole, evtfoid::regprocedure, evtenabled) from pg_event_trigger`},
	{"extensions", 15, `select format('%s %s of %s', extname, extversion, extowner::regrole) from pg_extension`},
	{"collations", 15, `select format('%s of %s, version %s', c.oid::regcollation, collowner::regrole, collversion) from pg_collation c`},
	{"foreign servers", 15, `select format('%s of %s: %s, %s', srvname, srvowner::regrole, srvoptions, ` + grants("srvacl", "S", "srvowner") + `) from pg_foreign_server`},
	{"user mappings", 15, `select format('%s at %s: %s', umuser::regrole, umserver, ` + digest("umoptions::text") + `) from pg_user_mapping`},
	{"publications", 15, `select format('%s of %s, all tables %s, %s', pubname, pubowner::regrole, puballtables,
		array(select format('%s %s %s', prrelid::regclass, prattrs, pg_get_expr(prqual, prrelid)) from pg_publication_rel where prpubid = p.oid order by 1)) from pg_publication p`},
	{"large objects", 15, `select format('%s of %s, %s: %s', oid, lomowner::regrole, ` + grants("lomacl", "L", "lomowner") + `, encode(sha256(lo_get(oid)), 'hex')) from pg_largeobject_metadata`},
}

// volatile are columns of catalogs that change by themselves or are to change, as subscriptions that run, and secrets, of which the readings above have digests.
var volatile = map[string]string{
	"pg_class":        "{relpages,reltuples,relallvisible,relallfrozen,relfrozenxid,relminmxid}",
	"pg_database":     "{datfrozenxid,datminmxid}",
	"pg_authid":       "{rolpassword}",
	"pg_subscription": "{subconninfo,subenabled}",
	"pg_user_mapping": "{umoptions}",
}

// catalogTables lists the catalogs that all databases share, or those of one. Each is read whole, so that what no reading above thought of is compared, too. Statistics
// change by themselves, large objects and the state of subscriptions have readings and tests of their own.
const catalogTables = `select relname::text from pg_class where relnamespace = 'pg_catalog'::regnamespace and relkind = 'r' and relisshared = $1
	and relname not in ('pg_statistic', 'pg_statistic_ext_data', 'pg_largeobject', 'pg_subscription_rel') order by 1`

// wholeCatalog reads every row of a catalog, but those that speak of the databases that $1 lists.
func wholeCatalog(table string) string {
	omitted := volatile[table]
	if omitted == "" {
		omitted = "{}"
	}
	return fmt.Sprintf(`select (j - '%s'::text[])::text from (select to_jsonb(x) j from pg_catalog.%s x) r where not exists (
		select from pg_database d where d.datname = any($1) and (j->>'datname' = d.datname or d.oid::text in (j->>'dbid', j->>'setdatabase')
			or d.oid::text in (j->>'objid', j->>'objoid') and 'pg_database'::regclass::oid::text in (j->>'classid', j->>'classoid')))`, omitted, table)
}

// userTables lists the tables that are not the system's, but those that $1 names.
const userTables = `select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = relnamespace where relkind in ('r', 'm') and relpersistence = 'p'
	and nspname !~ '^pg_' and nspname <> 'information_schema' and relname <> all(coalesce($1::text[], '{}'))`

// contents reads a digest of a table's rows in the order of their text.
func contents(table string) string {
	return fmt.Sprintf(`select format('%%s rows, %%s', count(*), encode(sha256(convert_to(coalesce(string_agg(x::text, e'\n' order by x::text), ''), 'UTF8')), 'hex')) from %s x`, table)
}
