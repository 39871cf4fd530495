package branches_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/wal"
)

// grove is a group whose database is branched again and again.
type grove struct {
	*devtest.World
	store objectstore.Store // of the other region, whose bucket the branches lie in
	rows  []moment
	wants map[string]int // by branch: how many rows it has
}

// moment is when a row was committed: behind it, and before the next one.
type moment struct {
	at  time.Time
	lsn wal.LSN
	xid string
}

const (
	teller, secret = "teller", "not-in-any-log"
	groveGroup     = devenv.GroupName
)

func newGrove(t *testing.T) *grove {
	t.Helper()
	w := devtest.StartWorld(t, devenv.EnvOptions{Major: devtest.NewestMajor(t)})
	g := &grove{World: w, store: w.Store(devenv.Secondary), wants: map[string]int{}}
	g.Exec(g.Env.Server.Server, "postgres", "create role "+teller+" login password '"+secret+"'", "create database app owner "+teller)
	g.Exec(g.Env.Server.Server, "app", "create table t (n int primary key)", "alter table t owner to "+teller)
	g.SmartDR("group", "create", "-f", g.Env.GroupPath())
	g.SmartDR("group", "change", "--group", groveGroup, "--firewall", "127.0.0.0/8")
	g.SmartDR("configure", "--group", groveGroup, "--secondary", devenv.Secondary, "--wait", "--timeout", devtest.Patience.String())
	return g
}

// commit commits rows, and records each.
func (g *grove) commit(rows int) {
	g.Helper()
	conn := g.Connect(g.Env.Server.Server, "app")
	for range rows {
		var m moment
		var lsn string
		g.Check(conn.QueryRow(g.Context(), "insert into t values ($1) returning pg_current_xact_id()::text", len(g.rows)).Scan(&m.xid))
		g.Check(conn.QueryRow(g.Context(), "select pg_current_wal_flush_lsn()::text").Scan(&lsn))
		m.at = time.Now()
		at, err := wal.ParseLSN(lsn)
		g.Check(err)
		m.lsn = at
		g.rows = append(g.rows, m)
	}
}

// shipped waits until the other region's bucket has all that was recorded.
func (g *grove) shipped() {
	g.Helper()
	g.WaitShipped("main", devenv.Secondary, g.rows[len(g.rows)-1].lsn)
}

// document is how large the group's document is in the bucket.
func (g *grove) document() int64 {
	g.Helper()
	info, err := g.store.Head(g.Context(), "groups/"+groveGroup+"/group.json")
	g.Check(err)
	return info.Size
}

// make makes a branch that is to have so many rows, and checks that it adds to the bucket what it says, and no more than a few hundred
// bytes.
func (g *grove) make(name string, rows int, args ...string) {
	g.Helper()
	before := g.document()
	var made api.Branch
	g.JSON(&made, append([]string{"branch", "create", name, "--group", groveGroup, "--region", devenv.Secondary}, args...)...)
	// The number of the document's revision may have become longer.
	if added := g.document() - before; max(made.Bytes-added, added-made.Bytes) > 2 || added > 1300 || made.WALBytes != 0 {
		g.Errorf("branch %s says that it adds %d bytes, and added %d", name, made.Bytes, added)
	}
	if g.wants[name] = rows; rows > len(g.rows) {
		return // the last ones were written to a branch
	}
	if m, last := made.Branch.Moment, g.rows[rows-1].at; m.After(last) || rows > 1 && !m.After(g.rows[rows-2].at) {
		g.Errorf("branch %s is of %s, its last row of %s", name, m, last)
	}
}

func (g *grove) show(name string) (b api.Branch) {
	g.Helper()
	g.JSON(&b, "branch", "show", name, "--group", groveGroup)
	return b
}

// visit attaches branches beside each other, checks what each has, does something in it and detaches it.
func (g *grove) visit(do string, names ...string) {
	g.Helper()
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() {
			if err := g.visitOne(name, do); err != nil {
				g.Errorf("branch %s: %v", name, err)
			}
		})
	}
	all.Wait()
}

func (g *grove) visitOne(name, do string) error {
	ctx := g.Context()
	var b api.Branch
	if err := g.Env.SmartDRJSON(ctx, &b, "branch", "attach", name, "--group", groveGroup); err != nil {
		return err
	}
	conn, err := devenv.Connect(ctx, strings.Replace(b.URL, "://", "://"+teller+"@", 1), secret)
	if err != nil {
		return fmt.Errorf("%s: %w", b.URL, err)
	}
	var count, last int
	err = conn.QueryRow(ctx, "select count(*), max(n) from t").Scan(&count, &last)
	if err == nil && (count != g.wants[name] || last != count-1) {
		g.Errorf("branch %s has %d rows up to %d, want %d", name, count, last, g.wants[name])
	}
	if err == nil && do != "" {
		_, err = conn.Exec(ctx, do)
	}
	if closed := conn.Close(ctx); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	_, err = g.Env.SmartDR(ctx, "branch", "detach", name, "--group", groveGroup)
	return err
}

// TestTwentyBranches makes twenty branches of one database at different points, some of branches, writes to some, and looks into them. Most
// are looked into in full runs alone, since each is a server.
func TestTwentyBranches(t *testing.T) {
	g := newGrove(t)
	g.commit(6)
	g.Exec(g.Env.Server.Server, "app", "select pg_create_restore_point('half')")
	g.commit(4)
	g.shipped()
	for n := 1; n <= 5; n++ {
		m := g.rows[n]
		g.make(fmt.Sprintf("time-%d", n), n+1, "--of", "app", "--at-time", m.at.UTC().Format(time.RFC3339Nano))
		g.make(fmt.Sprintf("lsn-%d", n), n+1, "--of", "main/app", "--at-lsn", m.lsn.String())
		if n > 3 {
			g.make(fmt.Sprintf("xid-%d", n), n+1, "--of", "app", "--at-xid", m.xid)
		}
	}
	g.make("half", 6, "--of", "app", "--at-name", "half")
	g.make("tip", 10, "--workspace", "main", "--of", "app")
	g.make("of-half", 6, "--of", "half")
	g.make("of-that", 3, "--of", "of-half", "--at-lsn", g.rows[2].lsn.String())
	g.written()
	g.refused()
	g.dropped()
}

// written writes to branches, and makes branches of those.
func (g *grove) written() {
	g.Helper()
	g.visit("insert into t select generate_series(count(*), count(*) + 1) from t", "tip", "of-that")
	g.wants["tip"], g.wants["of-that"] = 12, 5
	for _, name := range []string{"tip", "of-that"} {
		b := g.show(name)
		if is := g.stored(b); is == 0 || b.WALBytes != is || b.Bytes <= is || b.Branch.Own != 1 {
			g.Errorf("branch %s was written to: it says that it added %d bytes, %d of them WAL; the bucket has %d", name, b.Bytes, b.WALBytes, is)
		}
	}
	g.make("on-tip", 12, "--of", "tip")
	g.make("on-top", 12, "--of", "on-tip")
	g.make("below", 4, "--of", "tip", "--at-lsn", g.rows[3].lsn.String())
	if b := g.show("on-tip"); len(b.Branch.Line) != 1 || b.Branch.Own != 0 {
		g.Errorf("a branch of a written one is %+v", b.Branch)
	}
	looked := [][]string{{"on-top", "time-3"}, {"below", "xid-4"}}
	if os.Getenv("SMARTDR_TEST_FULL") != "" {
		looked = append(looked, []string{"tip", "of-that"}, []string{"lsn-1", "half"}, []string{"lsn-5", "time-1"}, []string{"xid-5", "of-half"}, []string{"on-tip", "lsn-4"})
	}
	for _, names := range looked {
		g.visit("", names...)
	}
	var all []api.Branch
	g.JSON(&all, "branch", "list", "--group", groveGroup)
	if len(all) < 19 {
		g.Errorf("%d branches are listed", len(all))
	}
}

// stored is what lies in the bucket of the WAL that was written to a branch.
func (g *grove) stored(b api.Branch) (bytes int64) {
	g.Helper()
	for _, l := range b.Branch.OwnLine() {
		for info, err := range g.store.List(g.Context(), "groups/"+groveGroup+"/workspaces/main/wal/"+l.ID+"/", "") {
			g.Check(err)
			bytes += info.Size
		}
	}
	return bytes
}

func (g *grove) refused() {
	g.Helper()
	for says, args := range map[string][]string{
		"already":        {"half", "--of", "app"},
		"is in the futu": {"late", "--of", "app", "--at-time", time.Now().Add(time.Hour).UTC().Format(time.RFC3339)},
		"lies before":    {"early", "--of", "app", "--at-time", g.rows[0].at.Add(-time.Hour).UTC().Format(time.RFC3339)},
		"no database":    {"other", "--of", "nothing"},
	} {
		_, err := g.Env.SmartDR(g.Context(), append([]string{"branch", "create", "--group", groveGroup}, args...)...)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "hint: ") {
			g.Errorf("%v: %v", args, err)
		}
	}
}

// dropped drops a branch that others come from: they have what they need.
func (g *grove) dropped() {
	g.Helper()
	g.SmartDR("branch", "drop", "tip", "--group", groveGroup)
	if _, err := g.Env.SmartDR(g.Context(), "branch", "show", "tip", "--group", groveGroup); err == nil {
		g.Error("a branch that was dropped is there")
	}
	g.visit("", "on-tip")
}
