package activities

import (
	"context"
	"io"
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// keepUndo keeps what leads back from a merge, and the report of it, right before the merge commits, unless that is not to be any more. A merge that
// changes nothing leaves nothing to lead back from.
func (m *merging) keepUndo(ctx context.Context, u missing.Undo) error {
	key := m.in.Job.place(m.in.Of).UndoKey(m.in.Run, u.XID)
	w := missing.CreateObject(ctx, m.store, key)
	n, err := writeUndo(w, u)
	if err != nil {
		return err
	}
	if n > 0 || len(u.Moved) > 0 {
		o := missing.Object{Kind: missing.UndoObject, SystemManaged: m.in.Of.Name, Database: m.in.Of.Database, Lineage: m.in.Job.Lineage,
			Fork: m.in.Job.Fork.LSN, Tip: m.in.Job.Tip.LSN, MadeAt: now().UTC(), XID: u.XID, Changes: n}
		if err := w.Publish(ctx, o); err != nil {
			return err
		}
		m.undo = key
		m.spread(ctx, key)
	}
	if err := m.publish(ctx); err != nil { // what was reported is told also when nobody hears that it has committed
		return err
	}
	if err := m.Catalog.CheckEpoch(ctx, m.in.Job.Group, m.in.Job.Epoch); err != nil {
		return err
	}
	_, _, err = m.permitted(ctx)
	return err
}

// writeUndo writes a record, and returns how many changes it has.
func writeUndo(w io.Writer, u missing.Undo) (n int64, err error) {
	lines, err := missing.NewLineWriter(w)
	if err != nil {
		return 0, err
	}
	if all := u.Changes; all != nil {
		u.Changes = func(yield func(missing.Change, error) bool) {
			for c, err := range all {
				if n++; !yield(c, err) {
					return
				}
			}
		}
	}
	if err := missing.WriteUndo(lines, u); err != nil {
		return n, err
	}
	return n, lines.Close()
}

// spread copies a record to the other region's bucket, if that answers: whoever merges there after a failover has to know of it.
func (m *merging) spread(ctx context.Context, key string) {
	other := m.Stores[m.group.Other(m.in.Job.Serves)]
	if other == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	if err := missing.CopyObject(ctx, m.store, other, key); err != nil {
		m.Log.WarnContext(ctx, "what leads back from a merge is in one bucket alone", "key", key, "error", err)
	}
}

// merged are the records of all earlier merges of the database, in both buckets, oldest first.
func (m *merging) merged(ctx context.Context) iter.Seq2[missing.Undo, error] {
	return func(yield func(missing.Undo, error) bool) {
		found, err := m.undoKeys(ctx)
		if err != nil {
			yield(missing.Undo{}, err)
			return
		}
		keys := make([]string, 0, len(found))
		for key := range found {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		for _, key := range keys {
			u, err := missing.ReadUndo(ctx, found[key], key)
			if !yield(u, err) || err != nil {
				return
			}
		}
	}
}

// undoKeys returns where the records of earlier merges are. A bucket that does not answer holds what the one that serves lacks only where nobody
// could write there when it was made.
func (m *merging) undoKeys(ctx context.Context) (map[string]objectstore.Store, error) {
	found := map[string]objectstore.Store{}
	for _, region := range []string{m.group.Other(m.in.Job.Serves), m.in.Job.Serves} {
		store := m.Stores[region]
		if store == nil {
			continue
		}
		keys, err := missing.UndoKeys(ctx, store, m.in.Job.Group, m.in.Job.Workspace, m.in.Job.Lineage, m.in.Of.Database)
		if err != nil && (region == m.in.Job.Serves || !fault.Is(err, fault.Transient) || ctx.Err() != nil) {
			return nil, err
		}
		for _, key := range keys {
			found[key] = store
		}
	}
	return found, nil
}

// earlier looks whether an attempt of this run has merged before it was killed. The server says which did.
func (m *merging) earlier(ctx context.Context) (c mergedBefore, err error) {
	if !m.in.Apply {
		return c, nil
	}
	keys, err := missing.UndoKeys(ctx, m.store, m.in.Job.Group, m.in.Job.Workspace, m.in.Job.Lineage, m.in.Of.Database)
	if err != nil {
		return c, err
	}
	for _, key := range keys {
		if !strings.HasPrefix(path.Base(key), "undo-"+m.in.Run+"-") {
			continue
		}
		o, err := missing.ReadObject(ctx, m.store, key)
		if err != nil {
			return c, err
		}
		var done bool
		if err := m.conn.QueryRow(ctx, "select coalesce(pg_xact_status($1::text::xid8) = 'committed', false)", strconv.FormatUint(o.XID, 10)).Scan(&done); err != nil {
			return c, sqlError(opMissing, err)
		}
		if done {
			c = mergedBefore{key, o.XID}
		}
	}
	return c, nil
}
