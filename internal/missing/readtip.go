package missing

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

func readTip(ctx context.Context, in *ReadInput, rec *forkRecord, write func(database string) (io.WriteCloser, error)) (r TipResult, err error) {
	conn, err := in.somewhere(ctx)
	if err != nil {
		return r, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := stands(ctx, conn, rec.Tip); err != nil {
		return r, err
	}
	now, err := readDatabases(ctx, conn)
	if err != nil {
		return r, err
	}
	pairs, notes := rec.pair(now)
	for _, p := range pairs {
		if _, refused := rec.Refused[p.name()]; refused {
			continue
		}
		if err := rec.refuses(p.name(), in.tipDatabase(ctx, p, write)); err != nil {
			return r, err
		}
	}
	return TipResult{notes, rec.Refused}, stands(ctx, conn, rec.Tip)
}

// databasePair is a database at the fork, and at the tip.
type databasePair struct {
	fork *database // nil: it was made later
	tip  database
}

// name is what its set is called.
func (p databasePair) name() string {
	if p.fork != nil {
		return p.fork.Name
	}
	return p.tip.Name
}

// pair says which databases are compared, and of which there is only something to say.
func (r *forkRecord) pair(now []database) (pairs []databasePair, notes []string) {
	for _, name := range r.Databases {
		i := slices.IndexFunc(r.All, func(d database) bool { return d.Name == name })
		if i < 0 {
			notes = append(notes, fmt.Sprintf("database %s was not there at the fork", name))
			continue
		}
		d := r.All[i]
		j := slices.IndexFunc(now, func(n database) bool { return n.OID == d.OID })
		switch {
		case j < 0:
			notes = append(notes, fmt.Sprintf("database %s was dropped on the old line after the fork", name))
		case !d.Connect || !now[j].Connect:
			notes = append(notes, fmt.Sprintf("database %s lets nobody connect, and was not compared", name))
		default:
			pairs = append(pairs, databasePair{fork: &d, tip: now[j]})
		}
	}
	for _, n := range now {
		was := slices.ContainsFunc(r.All, func(d database) bool { return d.OID == n.OID })
		if was || n.Template {
			continue
		}
		if !n.Connect {
			notes = append(notes, fmt.Sprintf("database %s was made on the old line after the fork, and lets nobody connect", n.Name))
			continue
		}
		notes = append(notes, fmt.Sprintf("database %s was made on the old line after the fork", n.Name))
		pairs = append(pairs, databasePair{tip: n})
	}
	return pairs, notes
}

func (in *ReadInput) tipDatabase(ctx context.Context, p databasePair, write func(database string) (io.WriteCloser, error)) error {
	conn, err := in.connect(ctx, p.tip.Name)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tip, err := readCatalog(ctx, conn, p.tip)
	if err != nil {
		return err
	}
	fork := &catalog{Database: p.tip}
	if p.fork != nil {
		if err := readJSON(catalogFile(in.Dir, p.fork.OID), fork); err != nil {
			return err
		}
	}
	t := &tipReading{in: in, conn: conn, plan: newPlan(in.Changes, fork, tip), name: p.name()}
	h, err := t.header(ctx, p.fork == nil)
	if err != nil {
		return err
	}
	return t.write(ctx, h, write)
}

// tipReading is the comparison of one database.
type tipReading struct {
	in    *ReadInput
	conn  *pgx.Conn
	plan  *plan
	name  string
	set   *Writer
	named map[uint32]bool // transactions that the set has a line of
}

func (t *tipReading) header(ctx context.Context, made bool) (Header, error) {
	c, p := t.in.Changes, t.plan
	h := Header{
		Workspace: t.in.Workspace, Lineage: t.in.Lineage, Database: t.name, DatabaseOID: p.fork.Database.OID,
		Fork: c.Fork, Tip: c.Tip, From: c.From, Whole: c.Expired, MadeAt: time.Now().UTC(), Blind: p.blindness(),
	}
	for _, g := range p.sorted() {
		h.Tables = append(h.Tables, g.table)
	}
	for _, x := range c.Prepared {
		if x.Database == h.DatabaseOID {
			h.Prepared = append(h.Prepared, x)
		}
	}
	if !made {
		h.Drift = drift(p.fork.Items, p.tip.Items)
	}
	var err error
	if h.Sequences, err = t.sequences(ctx); err != nil {
		return h, err
	}
	err = t.conn.QueryRow(ctx, "select current_setting('server_version_num')::int").Scan(&h.ServerVersion)
	return h, sqlError(err)
}

// write writes the set.
func (t *tipReading) write(ctx context.Context, h Header, write func(database string) (io.WriteCloser, error)) error {
	out, err := write(t.name)
	if err != nil {
		return err
	}
	if err := t.lines(ctx, h, out); err != nil {
		if failing, ok := out.(interface{ CloseWithError(error) error }); ok {
			_ = failing.CloseWithError(err) // err is what counts
		}
		return err
	}
	return out.Close()
}

func (t *tipReading) lines(ctx context.Context, h Header, out io.Writer) (err error) {
	t.named = map[uint32]bool{}
	if t.set, err = NewWriter(out, h); err != nil {
		return err
	}
	for i, g := range t.plan.sorted() {
		if err := t.group(ctx, i, g); err != nil {
			return fmt.Errorf("table %s.%s: %w", g.table.Schema, g.table.Name, err)
		}
	}
	return t.set.Close()
}
