package attach_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// named makes a restore point in a branch in which nothing else is written: it stays, and a branch can begin there.
func (w *world) named(name, region string) {
	t := w.t
	w.branch(name, region)
	_, err := w.attach(workflows.AttachBranchInput{Branch: name})
	check(t, err)
	b := w.of(name)
	had := w.rows(b)
	w.idles(b)
	w.ask(w.server(b), "postgres", "select pg_create_restore_point('kept')::text")
	w.idles(b)
	w.detached(name)
	if after := w.of(name); after.Own != 1 || after.Line[len(after.Line)-1].ID != b.Attached.Lineage {
		t.Fatalf("its restore point was lost: it is %+v", after)
	}
	_, err = w.attach(workflows.AttachBranchInput{Branch: name})
	check(t, err)
	if got := w.rows(w.of(name)); got != had {
		t.Errorf("attached again it has %q, and had %q", got, had)
	}
	w.detached(name)
	if again := w.of(name); again.Own != 1 {
		t.Errorf("attached again nothing was written to it, and it has %d lineages of its own", again.Own)
	}
	w.atPoint(name, region, b.Attached.Lineage, had)
}

// atPoint makes a branch of another one's restore point, and attaches it: that one begins right behind it, and does not count as its own.
func (w *world) atPoint(of, region, lineage, rows string) {
	t := w.t
	t.Helper()
	name := of + "-there"
	in := workflows.CreateBranchInput{Group: group, Name: name, Of: of, Region: region, At: topology.Target{Name: "kept"}}
	check(t, w.run(workflows.CreateBranchType, workflows.BranchID(group, name), in, nil))
	if b := w.of(name); b.Base.Lineage != lineage {
		t.Errorf("a branch of the restore point begins at %+v", b.Base)
	}
	_, err := w.attach(workflows.AttachBranchInput{Branch: name})
	check(t, err)
	if got := w.rows(w.of(name)); got != rows {
		t.Errorf("at the restore point it has %q", got)
	}
	w.detached(name)
	if b := w.of(name); b.Own != 0 {
		t.Errorf("nothing was written to it, and it has %d lineages of its own", b.Own)
	}
}

// idles has a branch's server write WAL as one does that nobody writes to, until it has dropped what it wrote first, which is in the bucket.
func (w *world) idles(b topology.Branch) {
	t := w.t
	t.Helper()
	s := w.server(b)
	conn, err := s.Open(t.Context(), "postgres")
	check(t, err)
	defer conn.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // nothing is kept that it says
	var first string
	check(t, conn.QueryRow(t.Context(), "select pg_walfile_name(pg_current_wal_lsn())").Scan(&first))
	for range 6 { // it keeps a few files for a while, whoever has them
		_, err := conn.Exec(t.Context(), "select pg_switch_wal()")
		check(t, err)
		_, err = conn.Exec(t.Context(), "checkpoint")
		check(t, err)
	}
	w.until("the branch's server to drop "+first, func() (bool, error) {
		_, err := conn.Exec(t.Context(), "checkpoint")
		if err != nil {
			return false, err
		}
		_, err = os.Stat(filepath.Join(s.DataDir, "pg_wal", first))
		return errors.Is(err, fs.ErrNotExist), nil
	})
}
