package cli_test

import (
	"context"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// seed writes a group into the buckets. The states are those that a group goes through: created, pending, lost (it was
// replicated, and nothing has been heard for an hour), alive, busy (a failover runs), done (one has ended), failed over,
// half (a failover has brought back one workspace of two), behind (one has left a system-managed database behind); besides: mixed (adopted, managed, suspended and terminated
// workspaces), terminated, optionless.
func (w *world) seed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: seed GROUP STATE")
	}
	ctx, cancel := context.WithTimeout(context.Background(), devtest.Patience)
	defer cancel()
	s := seeding{catalog: w.catalog(ts, ctx), group: args[0], now: time.Now().UTC()}
	steps := map[string][]func(context.Context) error{
		"created":    {s.create},
		"mixed":      {s.create, s.change(mix)},
		"terminated": {s.create, s.change(func(g *topology.Group) { g.State = topology.GroupTerminated })},
		"optionless": {s.create, s.change(func(g *topology.Group) { g.SmartDR = false })},
		"half":       {s.create, s.configure, s.synced(time.Hour), s.change(halfOver)},
		"pending":    {s.create, s.configure, s.pending},
		"lost":       {s.create, s.configure, s.synced(time.Hour)},
		"alive":      {s.create, s.configure, s.synced(0)},
		"busy":       {s.create, s.configure, s.synced(time.Hour), s.begin},
		"branches":   {s.create, s.configure, s.synced(time.Hour), s.change(branch)},
		"behind":     {s.create, s.configure, s.synced(time.Hour), s.change(moved), s.arrive, s.report},
		"done":       {s.create, s.configure, s.synced(time.Hour), s.begin, s.end},
	}[args[1]]
	if steps == nil {
		ts.Fatalf("no such state: %s", args[1])
	}
	for _, step := range steps {
		ts.Check(step(ctx))
	}
}

func (w *world) catalog(ts *testscript.TestScript, ctx context.Context) *catalog.Catalog {
	stores := map[string]objectstore.Store{}
	for region, g := range w.gateways {
		cfg := g.S3Config()
		cfg.Prefix = prefixOf(ts.Getenv("WORK")) + objectstore.Root
		store, err := objectstore.Open(ctx, cfg)
		ts.Check(err)
		stores[region] = store
	}
	return &catalog.Catalog{Stores: stores}
}

type seeding struct {
	catalog *catalog.Catalog
	group   string
	now     time.Time
}

const (
	lineage   = "0001-89abcdef"
	operation = "0198c9f2-7c1e-7d3f-a3c4-6a52e1b8a001"
)

func (s seeding) create(ctx context.Context) error {
	_, err := s.catalog.Create(ctx, topology.Group{
		ID: "7b0d9c6e-0c1d-4b9e-9a53-6f1f2f3e4d5c", Name: s.group, CreatedAt: s.now, Primary: "east", Active: "east", Authority: "east", Epoch: 1, SmartDR: true,
		Workspaces: []topology.Workspace{{Name: "main", Sites: map[string]topology.Site{"east": {
			Kind:     topology.Adopted,
			Source:   topology.Source{ConnString: "postgresql://smartdr@db.east:5432/postgres"},
			Endpoint: topology.Endpoint{Hosts: []topology.HostPort{{Host: "db.east", Port: 5432}}},
		}}}},
	})
	return err
}

// change changes the group's document.
func (s seeding) change(do func(*topology.Group)) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := s.catalog.Update(ctx, s.group, func(g *topology.Group) error { do(g); return nil })
		return err
	}
}

func managed(name, size string, port int, state topology.WorkspaceState) topology.Workspace {
	s, _ := topology.ParseSize(size)
	return topology.Workspace{Name: name, State: state, Size: s, Sites: map[string]topology.Site{"east": {
		Kind: topology.Managed, Host: "east-1", Instance: "/data/" + name,
		Endpoint: topology.Endpoint{Hosts: []topology.HostPort{{Host: "db.east", Port: port}}},
	}}}
}

// mix gives a group workspaces of all kinds, and a firewall.
func mix(g *topology.Group) {
	g.Firewall = topology.Firewall{Ranges: []string{"10.0.0.0/8", "192.0.2.7/32"}}
	reports := managed("reports", "S-1", 6001, topology.WorkspaceActive)
	reports.Settings, reports.HBA = map[string]string{"work_mem": "64MB"}, []string{"hostssl all auditor 10.9.0.0/16 cert"}
	g.Workspaces = append(g.Workspaces, reports,
		managed("ledger", "S-0", 6002, topology.WorkspaceSuspended), managed("old", "S-0", 6003, topology.WorkspaceTerminated))
}

// branch gives a group a branch that is attached, an unwritten branch of that, and a system-managed database.
func branch(g *topology.Group) {
	at := func(lineage string, lsn wal.LSN) topology.Fork {
		return topology.Fork{Lineage: lineage, At: wal.Position{Timeline: 1, LSN: lsn}}
	}
	moment := time.Date(2026, 11, 22, 22, 10, 0, 0, time.UTC)
	fork := at(lineage, 0x3000148)
	own := topology.Lineage{ID: "0001-00000001", Epoch: 1, Region: "west", SegmentSize: 16 << 20, Parent: &fork, CreatedAt: moment}
	endpoint := topology.Endpoint{Hosts: []topology.HostPort{{Host: "db.west", Port: 5440}}}
	g.Branches = []topology.Branch{
		{Name: "test", Workspace: "main", Database: "app", Region: "west", Line: []topology.Lineage{own}, Own: 1, Base: fork, Moment: moment, CreatedAt: moment,
			Attached: &topology.Attachment{ID: "0011aabb", State: topology.AttachmentServes, Lineage: own.ID, Host: "west-1", Endpoint: endpoint, Since: moment}},
		{Name: "test-2", Workspace: "main", Database: "app", From: "test", Region: "west", Line: []topology.Lineage{own}, Base: at(own.ID, 0x4000000), CreatedAt: moment},
	}
	g.SystemManaged = []topology.SystemManaged{{Name: "app_20261122T221000Z", Workspace: "main", Database: "app", Lineage: lineage, Region: "east", Since: moment}}
}

// halfOver is what a failover to west leaves that has brought back main alone.
func halfOver(g *topology.Group) {
	g.Workspaces = append(g.Workspaces, managed("reports", "S-1", 6001, topology.WorkspaceActive))
	g.Active, g.Epoch = "west", 2
	w := g.Workspace("main")
	w.Sites["west"] = topology.Site{
		Kind: topology.Managed, Host: "west-1", Instance: "/data/main",
		Endpoint: topology.Endpoint{Hosts: []topology.HostPort{{Host: "db.west", Port: 6000}}},
	}
	next := w.Lineages[0]
	next.ID, next.Epoch, next.Region, next.Parent = "0002-01234567", 2, "west", &topology.Fork{Lineage: lineage, At: next.Start}
	w.Lineage, w.Lineages = next.ID, append(w.Lineages, next)
}

func (s seeding) configure(ctx context.Context) error {
	_, err := s.catalog.MoveAuthority(ctx, s.group, "west", func(g *topology.Group) error {
		g.Secondary = "west"
		g.Replication = &topology.Replication{Databases: []string{"app", "billing"}, ConfiguredAt: s.now}
		w := g.Workspace("main")
		w.Lineage = lineage
		w.Lineages = []topology.Lineage{{
			ID: lineage, Epoch: 1, Region: "east", SystemID: "7123456789012345678", SegmentSize: 16 << 20,
			Start: wal.Position{Timeline: 1, LSN: 0x1000000}, CreatedAt: s.now,
		}}
		return nil
	})
	return err
}

func (s seeding) snapshot() topology.SnapshotProgress {
	return topology.SnapshotProgress{
		ID: "20261122T221000Z-0a1b", Lineage: lineage, MeasuredAt: s.now, StartedAt: s.now, DoneBytes: 430, TotalBytes: 1000,
		Databases: []topology.DatabaseProgress{
			{Name: "app", OID: 16384, Replicated: true, DoneBytes: 400, TotalBytes: 500},
			{Name: "billing", OID: 16385, Replicated: true, DoneBytes: 30, TotalBytes: 300},
			{Name: "scratch", OID: 16386, TotalBytes: 2048},
		},
	}
}

func (s seeding) pending(ctx context.Context) error {
	return s.catalog.PutSnapshotProgress(ctx, s.group, "main", s.snapshot())
}

func (s seeding) synced(ago time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		snap, at := s.snapshot(), s.now.Add(-ago)
		snap.Complete, snap.DoneBytes = []string{"east", "west"}, snap.TotalBytes
		if err := s.catalog.PutSnapshotProgress(ctx, s.group, "main", snap); err != nil {
			return err
		}
		point := topology.RecoveryPoint{
			Lineage: lineage, At: wal.Position{Timeline: 1, LSN: 0x5a3f210}, RecordEnd: 0x5a3f208, LastCommit: at, AsOf: at,
		}
		return s.catalog.PutWALProgress(ctx, s.group, "main", topology.WALProgress{
			Lineage: lineage, Epoch: 1, MeasuredAt: at, Server: point.At, Slot: topology.SlotState{Name: "smartdr_prod_main", WALStatus: "reserved"},
			Cursors: []topology.Cursor{
				{Region: "east", Point: point, Mode: "live"}, {Region: "west", Point: point, Mode: "live", LagBytes: 65776, LagSeconds: 0.83},
			},
		})
	}
}

func (s seeding) failover() topology.Operation {
	return topology.Operation{
		ID: operation, Kind: "Failover", Group: s.group, State: topology.OperationActive, From: "east", To: "west", StartedAt: s.now,
		RecordedAt: s.now,
		Phases:     []topology.Phase{{Name: "Plan", StartedAt: s.now, EndedAt: s.now.Add(600 * time.Millisecond), Note: "main: recovery point 0/5A3F208"}},
	}
}

func (s seeding) begin(ctx context.Context) error { return s.catalog.BeginOperation(ctx, s.failover()) }

func (s seeding) end(ctx context.Context) error {
	op := s.failover()
	op.State, op.EndedAt = topology.OperationFailed, s.now.Add(12*time.Second)
	op.Error, op.Hint = "chunk 3f is not what was written", "Restore it from the other bucket."
	return s.catalog.EndOperation(ctx, op)
}

// hosts announces one host that is there and one that was there an hour ago.
func (w *world) hosts(ts *testscript.TestScript, _ bool, _ []string) {
	ctx, cancel := context.WithTimeout(context.Background(), devtest.Patience)
	defer cancel()
	c, now := w.catalog(ts, ctx), time.Now().UTC()
	size, err := topology.ParseSize("S-1")
	ts.Check(err)
	ts.Check(c.PutHost(ctx, topology.Host{
		Name: "east-1", Region: "east", AnnouncedAt: now, MemoryBytes: 64 << 30, CPUs: 16, DiskBytes: 800 << 30,
		Placed: []topology.Placed{{Group: "prod", Workspace: "main", Epoch: 1, Size: size}}, Programs: []topology.Program{{Version: 180001}},
	}))
	ts.Check(c.PutHost(ctx, topology.Host{Name: "west-1", Region: "west", AnnouncedAt: now.Add(-time.Hour), MemoryBytes: 8 << 30, CPUs: 2}))
}
