package metadata

// Kinds and facts that code refers to.
const (
	kindDatabase     = "database"
	kindSubscription = "subscription"
	kindSetting      = "setting"
	factDatabase     = "in database" // of an item that what the whole server shares has about one database
)

// reader reads one group of kinds. Its query yields kind, schema (or ""), name and facts, a JSON object of texts; facts that
// are null are left out, so that a fact stands for something that somebody has chosen. What initdb made is left out,
// unless its privileges were changed: it is the same everywhere.
type reader struct {
	group  Group
	kinds  []string
	query  string
	fact   string // the only fact that it adds to items of other groups; empty if the items are its own
	secret bool   // its facts are secrets, or may hold some: they are only ever compared as digests that stay in the process
	closed string // the catalog that it reads and that is closed to most roles; empty for none
}

// acl writes an array of privileges in an order that does not depend on how they were granted.
func acl(column string) string {
	return `(select string_agg(a::text, ' ' order by a::text collate "C") from unnest(` + column + `) a)`
}

// changed is true of what somebody made, or whose privileges somebody changed since initdb (16384 is FirstNormalObjectId).
// Of the information schema initdb does not note what it granted: the owner's privileges, and one to everybody.
func changed(oid, class, aclColumn string) string {
	return `(` + oid + ` >= 16384 or ` + aclColumn + ` is distinct from coalesce(
		(select i.initprivs from pg_init_privs i where i.objoid = ` + oid + ` and i.classoid = '` + class + `'::regclass and i.objsubid = 0),
		case when n.nspname = 'information_schema' and cardinality(` + aclColumn + `) = 2 then ` + aclColumn + ` end))`
}

// masked writes an expression without its literals, which might be secrets.
func masked(expression string) string {
	return `regexp_replace(` + expression + `, '''(?:[^'']|'''')*''', '''...''', 'g')`
}

// lasting is true of schemas that are not a session's.
const lasting = `n.nspname !~ '^pg_(toast|temp_|toast_temp_)'`

// serverReaders read what the whole server shares.
var serverReaders = []reader{
	{group: "roles", kinds: []string{"role"}, query: `select 'role', '', quote_ident(rolname), jsonb_build_object(
		'superuser', nullif(rolsuper, false)::text, 'login', nullif(rolcanlogin, false)::text, 'inherit', rolinherit::text,
		'create role', nullif(rolcreaterole, false)::text, 'create database', nullif(rolcreatedb, false)::text,
		'replication', nullif(rolreplication, false)::text, 'bypass row security', nullif(rolbypassrls, false)::text,
		'connection limit', rolconnlimit::text, 'valid until', rolvaliduntil::text) from pg_roles`},
	{group: "passwords", kinds: []string{"password"}, closed: "pg_authid", query: `select 'password', '', quote_ident(rolname), jsonb_build_object('kind',
		case when rolpassword like 'SCRAM-SHA-256$%' then 'scram-sha-256' when rolpassword ~ '^md5[0-9a-f]{32}$' then 'md5' else 'unknown' end)
		from pg_authid where rolpassword is not null`},
	{group: "memberships", kinds: []string{"membership"}, query: `select 'membership', '', format('of %I in %I, granted by %I', pg_get_userbyid(member), pg_get_userbyid(roleid), pg_get_userbyid(grantor)),
		jsonb_build_object('admin', admin_option::text, 'inherit', to_jsonb(m) ->> 'inherit_option', 'set', to_jsonb(m) ->> 'set_option') from pg_auth_members m`},
	{group: "settings of roles and databases", kinds: []string{"setting"}, query: `select 'setting', '', split_part(item, '=', 1)
		|| coalesce(' of role ' || quote_ident(r.rolname), '') || coalesce(' in database ' || quote_ident(d.datname), ''),
		jsonb_build_object('name', split_part(item, '=', 1), 'value', substr(item, strpos(item, '=') + 1), 'in database', d.datname)
		from pg_db_role_setting s cross join unnest(s.setconfig) item
		left join pg_database d on d.oid = s.setdatabase left join pg_roles r on r.oid = s.setrole`},
	{group: "databases", kinds: []string{"database"}, query: `select 'database', '', datname, jsonb_build_object(
		'owner', pg_get_userbyid(datdba), 'encoding', pg_encoding_to_char(encoding), 'provider', datlocprovider::text, 'collate', datcollate, 'ctype', datctype,
		'locale', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'), 'collation rules', to_jsonb(d) ->> 'daticurules',
		'collation version', datcollversion, 'connection limit', datconnlimit::text, 'allows connections', datallowconn::text,
		'template', nullif(datistemplate, false)::text, 'tablespace', t.spcname, 'privileges', ` + acl("datacl") + `)
		from pg_database d join pg_tablespace t on t.oid = d.dattablespace`},
	{group: "tablespaces", kinds: []string{"tablespace"}, query: `select 'tablespace', '', quote_ident(spcname), jsonb_build_object('owner', pg_get_userbyid(spcowner),
		'options', array_to_string(spcoptions, ', '), 'privileges', ` + acl("spcacl") + `) from pg_tablespace`},
	{group: "privileges on parameters", kinds: []string{"parameter"}, query: `select 'parameter', '', parname, jsonb_build_object('privileges', ` + acl("paracl") + `) from pg_parameter_acl`},
	{group: "replication origins", kinds: []string{"replication origin"}, query: `select 'replication origin', '', roname, '{}'::jsonb from pg_replication_origin`},
	{group: "subscriptions", kinds: []string{"subscription"}, query: `select 'subscription', '', format('%I in database %I', subname, datname), jsonb_build_object(
		'in database', datname, 'owner', pg_get_userbyid(subowner), 'enabled', subenabled::text, 'slot', subslotname::text, 'publications', array_to_string(subpublications, ', '),
		'binary', nullif(subbinary, false)::text, 'streaming', substream::text, 'two-phase', subtwophasestate::text,
		'disabled on error', nullif(subdisableonerr, false)::text, 'synchronous commit', subsynccommit)
		from pg_subscription s join pg_database d on d.oid = subdbid`},
	{group: "security labels of the server", kinds: []string{"security label"}, query: `select 'security label', '', pg_describe_object(classoid, objoid, 0) || ' by ' || provider,
		jsonb_build_object('label', label) from pg_shseclabel`},
	{group: "password secrets", kinds: []string{"password"}, fact: secretFact + "secret", secret: true, closed: "pg_authid", query: `select 'password', '', quote_ident(rolname), jsonb_build_object('secret', rolpassword)
		from pg_authid where rolpassword is not null`},
	{group: "setting values", kinds: []string{"setting"}, fact: secretFact + "content", secret: true, query: `select 'setting', '', split_part(item, '=', 1)
		|| coalesce(' of role ' || quote_ident(r.rolname), '') || coalesce(' in database ' || quote_ident(d.datname), ''), jsonb_build_object('content', item)
		from pg_db_role_setting s cross join unnest(s.setconfig) item
		left join pg_database d on d.oid = s.setdatabase left join pg_roles r on r.oid = s.setrole`},
	{group: "subscription connections", kinds: []string{"subscription"}, fact: secretFact + "connection", secret: true, closed: "pg_subscription", query: `select 'subscription', '', format('%I in database %I', subname, datname),
		jsonb_build_object('connection', subconninfo) from pg_subscription s join pg_database d on d.oid = subdbid`},
}

// databaseReaders read one database. Those with few objects come first, so that they are listed one by one whatever the
// others hold.
var databaseReaders = []reader{
	{group: "schemas", kinds: []string{"schema"}, query: `select 'schema', '', quote_ident(nspname), jsonb_build_object('owner', pg_get_userbyid(nspowner), 'privileges', ` + acl("nspacl") + `)
		from pg_namespace n where ` + lasting},
	{group: "extensions", kinds: []string{"extension"}, query: `select 'extension', '', quote_ident(extname), jsonb_build_object('version', extversion, 'owner', pg_get_userbyid(extowner), 'schema', n.nspname)
		from pg_extension e join pg_namespace n on n.oid = extnamespace`},
	{group: "default privileges", kinds: []string{"default privileges"}, query: `select 'default privileges', '', format('of %I on %s', pg_get_userbyid(defaclrole),
		case defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions' when 'T' then 'types' when 'n' then 'schemas' when 'L' then 'large objects' else defaclobjtype::text end)
		|| coalesce(' in schema ' || quote_ident(n.nspname), ''), jsonb_build_object('privileges', coalesce(` + acl("defaclacl") + `, 'none'))
		from pg_default_acl left join pg_namespace n on n.oid = defaclnamespace`},
	{group: "languages", kinds: []string{"language"}, query: `select 'language', '', quote_ident(lanname), jsonb_build_object('owner', pg_get_userbyid(lanowner), 'trusted', lanpltrusted::text, 'privileges', ` + acl("lanacl") + `)
		from pg_language`},
	{group: "foreign data wrappers", kinds: []string{"foreign data wrapper"}, query: `select 'foreign data wrapper', '', quote_ident(fdwname), jsonb_build_object('owner', pg_get_userbyid(fdwowner),
		'options', ` + optionNames("fdwoptions") + `, 'privileges', ` + acl("fdwacl") + `) from pg_foreign_data_wrapper`},
	{group: "foreign servers", kinds: []string{"foreign server"}, query: `select 'foreign server', '', quote_ident(srvname), jsonb_build_object('owner', pg_get_userbyid(srvowner), 'wrapper', f.fdwname,
		'type', srvtype, 'version', srvversion, 'options', ` + optionNames("srvoptions") + `, 'privileges', ` + acl("srvacl") + `)
		from pg_foreign_server s join pg_foreign_data_wrapper f on f.oid = srvfdw`},
	{group: "user mappings", kinds: []string{"user mapping"}, query: `select 'user mapping', '', format('for %s on server %I', case umuser when 0 then 'public' else quote_ident(pg_get_userbyid(umuser)) end, srvname), '{}'::jsonb
		from pg_user_mappings`},
	{group: "options of user mappings", kinds: []string{"user mapping"}, fact: "options", closed: "pg_user_mapping", query: `select 'user mapping', '', format('for %s on server %I', case umuser when 0 then 'public' else quote_ident(pg_get_userbyid(umuser)) end, srvname),
		jsonb_build_object('options', ` + optionNames("umoptions") + `) from pg_user_mapping join pg_foreign_server s on s.oid = umserver`},
	{group: "event triggers", kinds: []string{"event trigger"}, query: `select 'event trigger', '', quote_ident(evtname), jsonb_build_object('owner', pg_get_userbyid(evtowner), 'event', evtevent,
		'function', evtfoid::regproc::text, 'enabled', evtenabled::text, 'tags', array_to_string(evttags, ', ')) from pg_event_trigger`},
	{group: "publications", kinds: []string{"publication"}, query: `select 'publication', '', quote_ident(pubname), jsonb_build_object('owner', pg_get_userbyid(pubowner), 'all tables', nullif(puballtables, false)::text,
		'publishes', concat_ws(', ', case when pubinsert then 'insert' end, case when pubupdate then 'update' end, case when pubdelete then 'delete' end, case when pubtruncate then 'truncate' end),
		'via root', nullif(pubviaroot, false)::text, 'generated columns', to_jsonb(p) ->> 'pubgencols',
		'schemas', (select string_agg(quote_ident(nspname), ', ' order by nspname collate "C") from pg_publication_namespace join pg_namespace n on n.oid = pnnspid where pnpubid = p.oid),
		'tables', (select string_agg(prrelid::regclass::text || coalesce(' columns ' || prattrs::text, '') || coalesce(' where ' || ` + masked("pg_get_expr(prqual, prrelid)") + `, ''),
			', ' order by prrelid::regclass::text collate "C") from pg_publication_rel where prpubid = p.oid)) from pg_publication p`},
	{group: "large objects", kinds: []string{"large objects"}, query: `select 'large objects', '', format('owned by %I', pg_get_userbyid(lomowner)) || coalesce(', granted ' || ` + acl("lomacl") + `, ''),
		jsonb_build_object('count', count(*)::text) from pg_largeobject_metadata group by lomowner, lomacl`},
	{group: "security labels", kinds: []string{"security label"}, query: `select 'security label', '', pg_describe_object(classoid, objoid, objsubid) || ' by ' || provider, jsonb_build_object('label', label) from pg_seclabel`},
	{group: "policies", kinds: []string{"policy"}, query: `select 'policy', n.nspname, format('%I on %I.%I', polname, n.nspname, c.relname), jsonb_build_object('command', polcmd::text, 'permissive', polpermissive::text,
		'roles', (select string_agg(r, ', ' order by r collate "C") from (select case o when 0 then 'public' else quote_ident(pg_get_userbyid(o)) end from unnest(polroles) o) s(r)),
		'using', ` + masked("pg_get_expr(polqual, polrelid)") + `, 'check', ` + masked("pg_get_expr(polwithcheck, polrelid)") + `)
		from pg_policy join pg_class c on c.oid = polrelid join pg_namespace n on n.oid = relnamespace`},
	{group: "columns", kinds: []string{"column"}, query: `select 'column', n.nspname, format('%I.%I.%I', n.nspname, c.relname, attname), jsonb_build_object('privileges', ` + acl("attacl") + `)
		from pg_attribute a join pg_class c on c.oid = attrelid join pg_namespace n on n.oid = relnamespace
		where attacl is not null and not attisdropped and ` + lasting + ` and (c.oid >= 16384 or attacl is distinct from
			(select i.initprivs from pg_init_privs i where i.objoid = c.oid and i.classoid = 'pg_class'::regclass and i.objsubid = attnum))`},
	{group: "tables, views and sequences", kinds: []string{"table", "view", "materialized view", "foreign table", "sequence"}, query: `select case relkind when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table' when 'S' then 'sequence' else 'table' end,
		n.nspname, format('%I.%I', n.nspname, relname), jsonb_build_object('owner', pg_get_userbyid(relowner), 'privileges', ` + acl("relacl") + `,
		'unlogged', case relpersistence when 'u' then 'true' end, 'row security', nullif(relrowsecurity, false)::text, 'forced row security', nullif(relforcerowsecurity, false)::text,
		'columns', case when relkind <> 'S' then relnatts::text end, 'tablespace', t.spcname, 'options', array_to_string(reloptions, ', '),
		'replica identity', case when relkind in ('r', 'p') and relreplident <> 'd' then relreplident::text end)
		from pg_class c join pg_namespace n on n.oid = relnamespace left join pg_tablespace t on t.oid = reltablespace
		where relkind in ('r', 'p', 'v', 'm', 'f', 'S') and relpersistence <> 't' and ` + lasting + ` and ` + changed("c.oid", "pg_class", "relacl")},
	{group: "functions", kinds: []string{"function", "procedure", "aggregate"}, query: `select case prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end, n.nspname,
		format('%I.%I(%s)', n.nspname, proname, pg_get_function_identity_arguments(p.oid)), jsonb_build_object('owner', pg_get_userbyid(proowner), 'privileges', ` + acl("proacl") + `,
		'security definer', nullif(prosecdef, false)::text, 'language', l.lanname,
		'settings', (select string_agg(split_part(s, '=', 1), ', ' order by s collate "C") from unnest(proconfig) s))
		from pg_proc p join pg_namespace n on n.oid = pronamespace join pg_language l on l.oid = prolang where ` + lasting + ` and ` + changed("p.oid", "pg_proc", "proacl")},
	{group: "types", kinds: []string{"type"}, query: `select 'type', n.nspname, format('%I.%I', n.nspname, typname), jsonb_build_object('owner', pg_get_userbyid(typowner), 'privileges', ` + acl("typacl") + `)
		from pg_type t join pg_namespace n on n.oid = typnamespace left join pg_class c on c.oid = typrelid
		where typtype in ('b', 'c', 'd', 'e', 'r') and (typrelid = 0 or relkind = 'c') and not exists (select from pg_type e where e.typarray = t.oid) and ` + lasting + ` and ` + changed("t.oid", "pg_type", "typacl")},
	{group: "operators, collations and the like", kinds: []string{"collation", "conversion", "operator", "operator class", "operator family", "text search configuration", "text search dictionary", "statistics"}, query: ownedObjects},
	{group: "contents of options", kinds: []string{"foreign server"}, fact: secretFact + "content", secret: true, query: `select 'foreign server', '', quote_ident(srvname), jsonb_build_object('content', srvoptions::text) from pg_foreign_server where srvoptions is not null`},
	{group: "contents of user mappings", kinds: []string{"user mapping"}, fact: secretFact + "content", secret: true, closed: "pg_user_mapping", query: `select 'user mapping', '', format('for %s on server %I', case umuser when 0 then 'public' else quote_ident(pg_get_userbyid(umuser)) end, srvname),
		jsonb_build_object('content', umoptions::text) from pg_user_mapping join pg_foreign_server s on s.oid = umserver where umoptions is not null`},
	{group: "bodies of functions", kinds: []string{"function", "procedure", "aggregate"}, fact: secretFact + "body", secret: true, query: `select case prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end, n.nspname,
		format('%I.%I(%s)', n.nspname, proname, pg_get_function_identity_arguments(p.oid)), jsonb_build_object('body', concat(prosrc, pg_get_function_sqlbody(p.oid), proconfig::text))
		from pg_proc p join pg_namespace n on n.oid = pronamespace where p.oid >= 16384 and ` + lasting},
	{group: "definitions of views", kinds: []string{"view", "materialized view"}, fact: secretFact + "definition", secret: true, query: `select case relkind when 'v' then 'view' else 'materialized view' end, n.nspname, format('%I.%I', n.nspname, relname),
		jsonb_build_object('definition', pg_get_viewdef(c.oid)) from pg_class c join pg_namespace n on n.oid = relnamespace where relkind in ('v', 'm') and c.oid >= 16384 and relpersistence <> 't'`},
	{group: "expressions of policies", kinds: []string{"policy"}, fact: secretFact + "expressions", secret: true, query: `select 'policy', n.nspname, format('%I on %I.%I', polname, n.nspname, c.relname),
		jsonb_build_object('expressions', concat_ws(' / ', pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)))
		from pg_policy join pg_class c on c.oid = polrelid join pg_namespace n on n.oid = relnamespace`},
}

// optionNames writes the names of options, whose values may be secrets.
func optionNames(column string) string {
	return `(select string_agg(split_part(o, '=', 1), ', ' order by o collate "C") from unnest(` + column + `) o)`
}

// ownedObjects are the kinds of which only the owner matters.
const ownedObjects = `select kind, n.nspname, case when part is null then format('%I.%I', n.nspname, name) else format('%I.%s(%s)', n.nspname, name, part) end,
	jsonb_build_object('owner', pg_get_userbyid(owner)) from (
		select 'collation' kind, collnamespace schema, collname name, null part, collowner owner from pg_collation where oid >= 16384
		union all select 'conversion', connamespace, conname, null, conowner from pg_conversion where oid >= 16384
		union all select 'operator', oprnamespace, oprname, concat_ws(', ', nullif(oprleft, 0)::regtype::text, nullif(oprright, 0)::regtype::text), oprowner from pg_operator where oid >= 16384
		union all select 'operator class', opcnamespace, quote_ident(opcname), a.amname, opcowner from pg_opclass o join pg_am a on a.oid = opcmethod where o.oid >= 16384
		union all select 'operator family', opfnamespace, quote_ident(opfname), a.amname, opfowner from pg_opfamily o join pg_am a on a.oid = opfmethod where o.oid >= 16384
		union all select 'text search configuration', cfgnamespace, cfgname, null, cfgowner from pg_ts_config where oid >= 16384
		union all select 'text search dictionary', dictnamespace, dictname, null, dictowner from pg_ts_dict where oid >= 16384
		union all select 'statistics', stxnamespace, stxname, null, stxowner from pg_statistic_ext where oid >= 16384
	) o join pg_namespace n on n.oid = o.schema where n.nspname !~ '^pg_(toast|temp_|toast_temp_)'`
