package missing

import (
	"context"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
)

// readPrepared finds the prepared transactions that the active side still has from the fork, and says how each is to end.
func (m *merger) readPrepared(ctx context.Context) error {
	there := map[uint32]string{}
	var xid int64
	var gid string
	err := m.rows(ctx, `select transaction::text::int8, gid from pg_prepared_xacts where database = current_database()`, nil, []any{&xid, &gid}, func() error {
		there[uint32(xid)] = gid
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range m.header.Prepared {
		if p.Database != 0 && p.Database != m.header.DatabaseOID {
			continue
		}
		m.listPrepared(p, there)
	}
	return nil
}

func (m *merger) listPrepared(p Prepared, there map[uint32]string) {
	gid, waits := there[p.XID]
	waits = waits && p.AtFork && (p.GID == "" || p.GID == gid)
	if waits {
		m.waiting[p.XID] = gid
		p.GID = gid
	}
	s := PreparedSummary{Prepared: p}
	switch {
	case waits && p.Fate == Committed:
		s.Command = "COMMIT PREPARED " + literal(gid)
	case waits && p.Fate == RolledBack:
		s.Command = "ROLLBACK PREPARED " + literal(gid)
	case p.Fate != InDoubt:
		return
	}
	m.sum.Prepared = append(m.sum.Prepared, s)
}

func notServing() error {
	return fault.Newf(fault.Invalid, opMerge, "the server only reads: it is a standby").WithHint("Connect to the one that serves.")
}

// firing notes what fires although a merge is to write and nothing else.
func (m *merger) firing(ctx context.Context) error {
	var oids []uint32
	for _, t := range m.tables {
		if merges(t) {
			oids = append(oids, t.oid)
		}
	}
	var names []string
	var name string
	err := m.rows(ctx, `with merged as (select coalesce(p.relid, o) as o from unnest($1::oid[]) o left join lateral pg_partition_tree(o) p on true)
		select tgrelid::regclass || '.' || quote_ident(tgname) from pg_trigger where tgenabled in ('A', 'R') and not tgisinternal and tgrelid in (select o from merged)
		union all select ev_class::regclass || '.' || quote_ident(rulename) from pg_rewrite where ev_enabled in ('A', 'R') and ev_class in (select o from merged) order by 1`,
		[]any{oids}, []any{&name}, func() error { names = append(names, name); return nil })
	if err == nil && len(names) > 0 {
		m.note("Triggers and rules that are enabled ALWAYS or for replicas act in a merge as well: %s.", strings.Join(names, ", "))
	}
	return err
}
