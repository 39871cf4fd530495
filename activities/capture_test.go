package activities

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// looks is a world with a server that is captured.
type looks struct {
	*world
	*capturer
	server *postgres.Server
	sub    subject
}

func newLooks(t *testing.T, user string) *looks {
	t.Helper()
	w := newWorld(t)
	l := &looks{world: w, server: startServer(t), capturer: &capturer{Source: &Source{Site: w.Site}}}
	postgrestest.Exec(t, l.server, "postgres", `create role plain login; grant pg_monitor to plain`)
	postgrestest.Exec(t, l.server, "postgres", `create database app`)
	l.sub = subject{source: postgrestest.Source(l.server, user, "postgres")}
	return l
}

// look looks without a pause, and returns when what is in the buckets was captured.
func (l *looks) look(t *testing.T) (m metadata.Metadata, v metadata.Inventory, at [2]time.Time) {
	t.Helper()
	l.metadata.notBefore, l.inventory.notBefore = time.Time{}, time.Time{}
	check(t, l.capturer.look(t.Context(), SourceInput{Group: "prod", Workspace: "main", Epoch: 1}, l.sub))
	md, err := l.world.Catalog.Metadata(t.Context(), "prod", "main")
	check(t, err)
	check(t, json.Unmarshal(md.Server, &m))
	iv, err := l.world.Catalog.Inventory(t.Context(), "prod", "main")
	check(t, err)
	v, err = readInventory(t.Context(), l.world.Catalog, "prod", "main")
	check(t, err)
	return m, v, [2]time.Time{md.CapturedAt, iv.CapturedAt}
}

func TestACaptureIsWrittenWhenSomethingChanged(t *testing.T) {
	l := newLooks(t, "postgres")
	_, _, first := l.look(t)
	_, _, idle := l.look(t)
	if idle != first {
		t.Errorf("an idle server was captured at %s and written again at %s", first, idle)
	}
	postgrestest.Exec(t, l.server, "postgres", `create role added`)
	_, v, role := l.look(t)
	if role[0] != first[0] || role[1] == first[1] || !has(v, "", "role", "added") {
		t.Errorf("a new role: written at %s after %s, found %v", role, first, has(v, "", "role", "added"))
	}
	postgrestest.Exec(t, l.server, "postgres", `alter system set work_mem = '7MB'`)
	postgrestest.Exec(t, l.server, "postgres", `select pg_reload_conf()`)
	devtest.Until(t, "the setting is in force", func() bool {
		return postgrestest.Query(t, l.server, "postgres", `select current_setting('work_mem')`) == "7MB"
	})
	m, _, setting := l.look(t)
	if setting[0] == role[0] || setting[1] != role[1] || m.Setting("work_mem") != "7MB" {
		t.Errorf("a new setting: written at %s after %s, work_mem %s", setting, role, m.Setting("work_mem"))
	}
	l.capturer.metadata.at, l.capturer.inventory.at = time.Now().Add(-signEvery), time.Now().Add(-signEvery)
	if _, _, sign := l.look(t); !sign[0].After(setting[0]) || !sign[1].After(setting[1]) {
		t.Errorf("no sign of life: written at %s after %s", sign, setting)
	}
}

func has(v metadata.Inventory, database, kind, name string) bool {
	p := v.Part(database)
	return p != nil && slices.ContainsFunc(p.Items, func(i metadata.Item) bool { return i.Kind == kind && i.Name == name })
}

// A database that cannot be read for once does not take with it what is known of it, and what is new elsewhere is kept.
func TestACaptureThatFailsHalfWayMissesNothing(t *testing.T) {
	l := newLooks(t, "plain")
	postgrestest.Exec(t, l.server, "app", `create table kept (); create publication pub for table kept`)
	l.look(t)
	postgrestest.Exec(t, l.server, "postgres", `revoke connect on database app from public; create role added`)
	postgrestest.Exec(t, l.server, "postgres", `create database fresh`)
	for range 2 { // the second time in another turn, which knows only what is in the buckets
		m, v, _ := l.look(t)
		if !has(v, "app", "table", "public.kept") || !has(v, "", "role", "added") || v.Part("fresh") == nil {
			t.Errorf("the inventory lost something: %+v", v)
		}
		if len(m.Pipelines.Publications) != 1 || !slices.Equal(m.Unread, []string{"app"}) || !strings.Contains(strings.Join(m.Notes, " "), "database app") {
			t.Errorf("publications %+v, unread %q, notes %q", m.Pipelines.Publications, m.Unread, m.Notes)
		}
		if !slices.ContainsFunc(m.Extensions, func(e metadata.Extension) bool { return e.Database == "app" }) {
			t.Errorf("extensions %v", m.Extensions)
		}
		l.capturer = &capturer{Source: &Source{Site: l.world.Site}}
	}
	postgrestest.Exec(t, l.server, "postgres", `drop database app`)
	if m, v, _ := l.look(t); v.Part("app") != nil || len(m.Pipelines.Publications) > 0 {
		t.Error("a database that was dropped is kept")
	}
}

func TestLooksThatTakeLongAreSpacedOut(t *testing.T) {
	l := newLooks(t, "postgres")
	l.look(t)
	if l.metadata.notBefore.IsZero() || l.inventory.notBefore.IsZero() {
		t.Fatal("the next look may come at once")
	}
	postgrestest.Exec(t, l.server, "postgres", `create role added`)
	l.inventory.notBefore = time.Now().Add(time.Hour)
	check(t, l.capturer.look(t.Context(), SourceInput{Group: "prod", Workspace: "main", Epoch: 1}, l.sub))
	v, err := readInventory(t.Context(), l.world.Catalog, "prod", "main")
	check(t, err)
	if has(v, "", "role", "added") {
		t.Error("it was looked at too early")
	}
}

func TestWhenACaptureIsDue(t *testing.T) {
	at := time.Unix(1000, 0)
	w := written{content: "a", at: at}
	for content, want := range map[string][2]bool{"a": {false, true}, "b": {true, true}} {
		if got := [2]bool{w.due(content, at.Add(signEvery-1)), w.due(content, at.Add(signEvery))}; got != want {
			t.Errorf("%s: %v, want %v", content, got, want)
		}
	}
}

// A fence changes files before the server reads them, and whoever sets it may die in between. Access rules that are captured then would let
// in nobody wherever the server is brought up.
func TestAFenceThatIsHalfSetIsNotCaptured(t *testing.T) {
	l := newLooks(t, "postgres")
	_, _, first := l.look(t)
	auto := filepath.Join(l.server.DataDir, "postgresql.auto.conf")
	settings, err := os.ReadFile(auto)
	check(t, err)
	stays := func(what string) {
		t.Helper()
		if m, _, at := l.look(t); at != first || slices.ContainsFunc(m.HBA, func(r metadata.HBARule) bool { return r.Method == "reject" }) {
			t.Errorf("%s: captured at %v, before at %v, rules %+v", what, at, first, m.HBA)
		}
	}
	check(t, l.server.WriteAutoConf(append(slices.Clone(settings), []byte("smartdr.fence = '{}'\n")...)))
	check(t, l.server.WriteHBA(postgrestest.TrustLocal+"local all nobody reject\n"))
	stays("with the settings of a fence that are not in force")
	check(t, l.server.WriteAutoConf(settings))
	check(t, l.server.WriteHBA(postgrestest.TrustLocal+"local all \"smartdr fenced\" reject\nlocal all nobody reject\n"))
	if m, _, at := l.look(t); at[0] != first[0] || // the inventory holds no rules
		slices.ContainsFunc(m.HBA, func(r metadata.HBARule) bool { return r.Method == "reject" }) {
		t.Errorf("with the rules of a fence: captured at %s, before at %s, rules %+v", at[0], first[0], m.HBA)
	}
	check(t, l.server.WriteHBA(postgrestest.TrustLocal+"local all nobody reject\n"))
	if m, _, _ := l.look(t); !slices.ContainsFunc(m.HBA, func(r metadata.HBARule) bool { return r.Method == "reject" }) {
		t.Errorf("the server's own rules are not captured any more: %+v", m.HBA)
	}
}
