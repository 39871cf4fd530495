package missing

import (
	"context"
	"errors"
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

// giveUndo hands out what leads back, before the merge commits.
func (m *merger) giveUndo(ctx context.Context) error {
	u := Undo{Database: m.server.Database, SystemID: m.server.SystemID, Timeline: m.server.Timeline, Moved: m.sum.Sequences, At: time.Now().UTC()}
	var xid, lsn int64
	err := m.rows(ctx, "select pg_current_xact_id()::text::int8, (pg_current_wal_insert_lsn() - '0/0')::int8", nil, []any{&xid, &lsn}, func() error { return nil })
	if err != nil {
		return err
	}
	u.XID, u.LSN = uint64(xid), wal.LSN(lsn)
	m.sum.XID = u.XID
	for _, t := range m.tables {
		if merges(t) {
			u.Tables = append(u.Tables, t.activeTable())
		}
	}
	stopped := errors.New("stopped")
	u.Changes = func(yield func(Change, error) bool) {
		err := m.changes(ctx, "s.p", func(r changeRow) error {
			if !yield(r.change, nil) {
				return stopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, stopped) {
			yield(Change{}, err)
		}
	}
	return m.in.Undo(ctx, u)
}
