package activities

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
)

// home is host east-1 of region east, where group prod serves with nothing in it yet.
type home struct {
	*Target
	control *Control
	bin     postgres.Binaries
}

func newHome(t *testing.T) home {
	t.Helper()
	all := postgrestest.Installations(t)
	return newHomeOf(t, all[len(all)-1])
}

func newHomeOf(t *testing.T, bin postgres.Binaries) home {
	t.Helper()
	site := Site{Region: "east", Host: "east-1", Stores: map[string]objectstore.Store{"east": devtest.Store(t)}, Log: slog.New(slog.DiscardHandler)}
	site.Catalog = &catalog.Catalog{Stores: site.Stores, Timeout: slow, Log: site.Log}
	_, err := site.Catalog.Create(t.Context(), topology.Group{
		ID: topology.NewGroupID(), Name: "prod", Primary: "east", SmartDR: true, Firewall: topology.Firewall{Ranges: []string{"127.0.0.0/8"}},
	})
	check(t, err)
	port, err := devenv.FreePorts(10)
	check(t, err)
	h := home{bin: bin, control: &Control{Site: site}, Target: &Target{Site: site, Hosting: Hosting{
		DataDir: postgrestest.TempDir(t), Listen: "127.0.0.1", AdvertiseHost: "127.0.0.1", FirstPort: port, LastPort: port + 9, BinDirs: []string{bin.BinDir},
		MemoryBytes: 8 << 30, CPUs: 8,
	}}}
	t.Cleanup(func() { h.killAll(t) })
	return h
}

// killAll ends every server below the data folder: the test made them.
func (h home) killAll(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), devtest.Patience)
	defer cancel()
	dirs, _ := filepath.Glob(filepath.Join(h.DataDir, "*", "*", "e*"))
	for _, dir := range dirs {
		s, err := postgres.Load(dir)
		if err != nil {
			continue
		}
		if err := s.Kill(ctx); err != nil {
			t.Error(err)
		}
		if b, err := os.ReadFile(s.LogFile); t.Failed() && err == nil {
			t.Logf("%s ends with:\n%s", s.LogFile, b[max(0, len(b)-2000):])
		}
	}
}

// newServer is workspace orders, as CreateWorkspace asks for its server.
func (h home) newServer() NewServer {
	size, _ := topology.ParseSize("256MiB/1")
	return NewServer{
		Group: "prod", Workspace: "orders", Epoch: 1, Region: "east", Host: "east-1", Postgres: h.bin.Major(), Size: size,
		Firewall: topology.Firewall{Ranges: []string{"127.0.0.0/8"}},
	}
}

// record adds the workspace to the group, as it is asked for and without a server.
func (h home) record(t *testing.T, in NewServer) {
	t.Helper()
	w := topology.Workspace{Name: in.Workspace, State: topology.WorkspacePending, Size: in.Size, Settings: in.Settings, HBA: in.HBA, Ident: in.Ident, Sites: map[string]topology.Site{}}
	_, err := as(t, h.control.AddWorkspace, AddWorkspaceInput{Group: in.Group, Workspace: w})
	check(t, err)
}

// create makes a workspace from the beginning to the end.
func (h home) create(t *testing.T, in NewServer) MakeServerResult {
	t.Helper()
	h.record(t, in)
	made, err := as(t, h.MakeServer, in)
	check(t, err)
	_, err = as(t, h.control.RecordServer, RecordServerInput{Group: in.Group, Workspace: in.Workspace, Region: "east", Epoch: in.Epoch, Site: made.Site})
	check(t, err)
	return made
}

// admin connects over TCP as the role that the server was made with.
func admin(t *testing.T, made MakeServerResult, from, database string) (*pgx.Conn, error) {
	t.Helper()
	b, err := os.ReadFile(made.PasswordFile)
	check(t, err)
	at := made.Site.Endpoint.Hosts[0]
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%d user=admin dbname=%s sslmode=disable connect_timeout=5", at.Host, at.Port, database))
	check(t, err)
	cfg.Password = strings.TrimSpace(string(b))
	cfg.DialFunc = dialFrom(from)
	return pgx.ConnectConfig(t.Context(), cfg)
}

func TestMakeServer(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		h := newHomeOf(t, bin)
		in := h.newServer()
		in.Settings = map[string]string{"work_mem": "7MB", "app.region": "it's \\ east"}
		in.Init = InitOptions{SegmentSize: 1 << 20, ICULocale: "en-US"}
		made := h.create(t, in)
		conn, err := admin(t, made, "127.0.0.1", "postgres")
		check(t, err)
		defer conn.Close(t.Context())
		for _, sql := range []string{"create database app", "create table public.notes (n int)", "create schema stock"} {
			_, err = conn.Exec(t.Context(), sql)
			check(t, err)
		}
		if _, err = conn.Exec(t.Context(), "alter database postgres connection limit 0"); err == nil {
			t.Error("admin owns the database that the server is controlled through")
		}
		want := map[string]string{
			"shared_buffers": "64MB", "work_mem": "7MB", "app.region": "it's \\ east", "wal_segment_size": "1MB", "data_checksums": "on",
			"wal_level": "replica", "is_superuser": "off", "max_connections": "25",
		}
		if diff := cmp.Diff(want, settingsOf(t, conn, want)); diff != "" {
			t.Error(diff)
		}
		var provider string
		check(t, conn.QueryRow(t.Context(), "select datlocprovider::text from pg_database where datname = 'postgres'").Scan(&provider))
		if provider != "i" {
			t.Errorf("sorts by %q", provider)
		}
		if info, err := os.Stat(made.PasswordFile); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the password's file: %v, %v", info, err)
		}
		again, err := as(t, h.MakeServer, in)
		if diff := cmp.Diff(made, again); err != nil || diff != "" {
			t.Errorf("made again: %v %s", err, diff)
		}
	})
}

func settingsOf(t *testing.T, conn *pgx.Conn, names map[string]string) map[string]string {
	t.Helper()
	got := map[string]string{}
	for name := range names {
		var value string
		check(t, conn.QueryRow(t.Context(), "select current_setting($1)", name).Scan(&value))
		got[name] = value
	}
	return got
}

func TestMakeServerLetsInWhoItShould(t *testing.T) {
	h := newHome(t)
	in := h.newServer()
	in.Firewall = topology.Firewall{Ranges: []string{"127.0.0.0/30"}}
	made := h.create(t, in)
	for from, inside := range map[string]bool{"127.0.0.1": true, "127.0.0.3": true, "127.0.0.4": false, "127.9.9.9": false} {
		conn, err := admin(t, made, from, "postgres")
		if (err == nil) != inside {
			t.Errorf("from %s: %v", from, err)
		}
		if err == nil {
			check(t, conn.Close(t.Context()))
		}
	}
}

func TestMakeServerLeavesFoldersAloneThatAreNotItsOwn(t *testing.T) {
	h := newHome(t)
	in := h.newServer()
	dir := instanceDir(h.DataDir, in.Group, in.Workspace, in.Epoch)
	check(t, os.MkdirAll(dir, 0o755))
	precious := filepath.Join(dir, "precious")
	check(t, os.WriteFile(precious, nil, 0o600))
	_, err := h.makeServer(t.Context(), in)
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
	check(t, writeState(dir, ownerFile, owner{Group: "prod", Workspace: "orders", Epoch: 1, Operation: "op"}))
	if _, err = h.makeServer(t.Context(), in); !fault.Is(err, fault.Diverged) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(precious); errors.Is(err, os.ErrNotExist) {
		t.Error("a file is gone")
	}
}
