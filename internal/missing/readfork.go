package missing

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// forkRecord says what a folder holds. It is written last.
type forkRecord struct {
	Fork, Tip, From wal.LSN
	Expired         bool
	Lineage         string
	Databases       []string           // that were asked for
	All             []database         // of the server at the fork
	Refused         map[string]Refusal // that cannot be compared
}

const forkRecordFile = "fork.json"

func newForkRecord(in *ReadInput) *forkRecord {
	c := in.Changes
	return &forkRecord{Fork: c.Fork, Tip: c.Tip, From: c.From, Expired: c.Expired, Lineage: in.Lineage, Databases: slices.Sorted(slices.Values(in.Databases))}
}

// kept reports whether the folder has all that r is about, and takes over what was written then.
func (r *forkRecord) kept(dir string) (bool, error) {
	var was forkRecord
	switch err := readJSON(filepath.Join(dir, forkRecordFile), &was); {
	case fault.Is(err, fault.Missing):
		return false, nil
	case err != nil:
		return false, err
	}
	if was.Fork != r.Fork || was.Tip != r.Tip || was.From != r.From || was.Expired != r.Expired || was.Lineage != r.Lineage || !slices.Equal(was.Databases, r.Databases) {
		return false, nil
	}
	*r = was
	return true, nil
}

func readFork(ctx context.Context, in *ReadInput, rec *forkRecord) error {
	conn, err := in.somewhere(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := stands(ctx, conn, rec.Fork); err != nil {
		return err
	}
	if err := emptyDir(in.Dir); err != nil {
		return err
	}
	if rec.All, err = readDatabases(ctx, conn); err != nil {
		return err
	}
	for _, d := range rec.All {
		if d.Connect && slices.Contains(in.Databases, d.Name) {
			if err := rec.refuses(d.Name, in.forkDatabase(ctx, d)); err != nil {
				return err
			}
		}
	}
	if err := stands(ctx, conn, rec.Fork); err != nil {
		return err
	}
	return writeJSON(filepath.Join(in.Dir, forkRecordFile), rec)
}

// refuses remembers a database that cannot be compared, which does not hold up the others, and returns any other error.
func (r *forkRecord) refuses(database string, err error) error {
	if no := refusal(err); no != nil {
		if r.Refused == nil {
			r.Refused = map[string]Refusal{}
		}
		r.Refused[database] = *no
		return nil
	}
	if err != nil {
		return fmt.Errorf("database %s: %w", database, err)
	}
	return nil
}

// emptyDir makes the folder, and removes what an earlier call left in it.
func emptyDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fileError(err)
	}
	for _, pattern := range []string{forkRecordFile, "db-*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return fileError(err)
		}
		for _, f := range found {
			if err := os.Remove(f); err != nil {
				return fileError(err)
			}
		}
	}
	return nil
}

// catalogFile and rowsFile name what a folder keeps of a database, and of one of its tables.
func catalogFile(dir string, d uint32) string {
	return filepath.Join(dir, fmt.Sprintf("db-%d.json", d))
}

func rowsFile(dir string, d, table uint32) string {
	return filepath.Join(dir, fmt.Sprintf("db-%d-%d.rows.zst", d, table))
}

func (in *ReadInput) forkDatabase(ctx context.Context, d database) error {
	conn, err := in.connect(ctx, d.Name)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	c, err := readCatalog(ctx, conn, d)
	if err != nil {
		return err
	}
	if in.Changes.Expired {
		if err := c.readSequences(ctx, conn); err != nil {
			return err
		}
	}
	c.Kept = map[uint32]uint64{}
	for oid, g := range c.oldGroups() {
		if !g.old(in.Changes) {
			continue
		}
		if c.Kept[oid], err = in.forkGroup(ctx, conn, d, g); err != nil {
			return fmt.Errorf("%s: %w", g.top.object(), err)
		}
	}
	return writeJSON(catalogFile(in.Dir, d.OID), c)
}

// forkGroup keeps the row versions of a table, or of the partitions of one, that may be gone at the tip, and returns how many they are.
func (in *ReadInput) forkGroup(ctx context.Context, conn *pgx.Conn, d database, g *oldGroup) (uint64, error) {
	w, err := newRowWriter(rowsFile(in.Dir, d.OID, g.top.OID))
	if err != nil {
		return 0, err
	}
	defer w.abandon()
	for _, m := range g.members {
		q := &rowQuery{conn: conn, table: m, columns: g.expressions(m)}
		keep := in.counted(d.Name, m, in.Changes.oldRows(m), w.write)
		switch t := in.Changes.touched(m); {
		case in.Changes.replaced(m):
			err = q.whole(ctx, keep)
		case t != nil:
			err = q.at(ctx, &t.Old, keep)
		}
		if err != nil {
			return 0, err
		}
	}
	return w.n, w.close()
}

// oldRows estimates how many rows of a table are read at the fork.
func (c *Changes) oldRows(r *relation) int64 {
	if t := c.touched(r); !c.replaced(r) && t != nil {
		return t.Old.Len()
	}
	return r.Rows
}

// counted tells of progress as rows pass.
func (in *ReadInput) counted(database string, r *relation, total int64, visit func(*row) error) func(*row) error {
	var n int64
	return func(v *row) error {
		if n++; n%everyRows == 0 {
			in.progress(database, r.Schema+"."+r.Name, n, max(n, total))
		}
		return visit(v)
	}
}

func writeJSON(path string, v any) error {
	f, err := os.Create(path + ".part")
	if err != nil {
		return fileError(err)
	}
	err = json.NewEncoder(f).Encode(v)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), strings.TrimSuffix(f.Name(), ".part"))
	}
	return fileError(err)
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	switch {
	case os.IsNotExist(err):
		return fault.New(fault.Missing, opRead, fs.ErrNotExist)
	case err != nil:
		return fileError(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fault.Newf(fault.Corrupt, opRead, "%s: %w", filepath.Base(path), err).WithHint("Compare again.")
	}
	return nil
}
