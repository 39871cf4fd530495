package readiness

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

var now = time.Date(2026, 11, 22, 22, 10, 30, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

const first, second = "0001-00000001", "0002-00000002"

// good are the facts of a group for which a failover would work, with nothing to say.
func good() Facts {
	safe := int64(4 << 30)
	host := metadata.Host{
		Major: 18, Extensions: map[string]bool{"plpgsql": true, "pg_trgm": true}, Libraries: map[string]bool{"pg_stat_statements": true},
		Locales: map[string]bool{"en_US.utf8": true}, LibcVersion: "2.41", MemoryBytes: 8 << 30,
	}
	return Facts{
		Now: now, From: "west", To: "west",
		Group: topology.Group{
			Name: "prod", Revision: 7, Primary: "east", Secondary: "west", Active: "east", Authority: "west", Epoch: 1,
			Replication: &topology.Replication{}, SmartDR: true,
		},
		Buckets: map[string]Bucket{
			"east": {Copy: catalog.Copy{Revision: 7, Epoch: 1}, Stamps: []catalog.Stamp{{Writer: "the shipper of workspace main", Said: ago(time.Second), Stored: ago(time.Second)}}},
			"west": {Copy: catalog.Copy{Revision: 7, Epoch: 1}, Wrote: Answer{Asked: true}, Stamps: []catalog.Stamp{{Writer: "host w1", Said: ago(12 * time.Second), Stored: ago(12 * time.Second)}}},
		},
		Hosts: []topology.Host{{
			Name: "w1", Region: "west", AnnouncedAt: ago(12 * time.Second), MemoryBytes: 8 << 30, CPUs: 4, DiskBytes: 100 << 30,
			Programs: []topology.Program{{Version: 180001, Facts: encoded(host)}},
		}},
		Operations: []topology.Operation{{ID: "op1", Kind: "Failover", State: topology.OperationCompleted, StartedAt: ago(49 * time.Hour), EndedAt: ago(48 * time.Hour)}},
		Temporal:   Answer{Asked: true},
		Workspaces: []Workspace{{
			Workspace: topology.Workspace{
				Name: "main", Lineage: first, Lineages: []topology.Lineage{{ID: first, Start: wal.Position{Timeline: 1, LSN: 0x1000000}}},
				Sites: map[string]topology.Site{"east": {Kind: topology.Adopted}},
			},
			WAL: &topology.WALProgress{
				Lineage: first, Epoch: 1, MeasuredAt: ago(time.Second), Slot: topology.SlotState{Name: "smartdr_prod_main", WALStatus: "reserved", SafeWALSize: &safe},
				Cursors: []topology.Cursor{{Region: "west", LagSeconds: 0.4, LagBytes: 2048, Point: topology.RecoveryPoint{At: wal.Position{Timeline: 1, LSN: 0x5000000}}}},
			},
			Snapshot: &snapshot.Manifest{
				ID: "20261122T101000Z-0a1b", Lineage: first, ServerVersion: 180001, End: wal.Position{Timeline: 1, LSN: 0x2000100},
				CompletedAt: ago(12 * time.Hour), TotalBytes: 3 << 30,
			},
			Chain: Chain{From: 0x2000000, Tip: wal.Position{Timeline: 1, LSN: 0x5000000}, Objects: 9},
			Metadata: &metadata.Metadata{
				ServerVersion: 180001, HBAKnown: true, Settings: []metadata.Setting{{Name: "shared_buffers", Value: "1GB"}, {Name: "shared_preload_libraries", Value: "pg_stat_statements"}},
				Databases: []metadata.Database{
					{Name: "app", Provider: "c", Collate: "en_US.UTF-8", CType: "en_US.UTF-8", CollationVersion: "2.41", CollationActual: "2.41"}, {Name: "postgres"}, {Name: "template1", Template: true},
				},
				Extensions: []metadata.Extension{{Database: "app", Name: "pg_trgm"}},
				HBA:        []metadata.HBARule{{Type: "host", Databases: []string{"all"}, Users: []string{"all"}, Address: "10.0.0.0", Netmask: "255.0.0.0", Method: "scram-sha-256"}},
			},
			CapturedAt: ago(3 * time.Minute), InventoryAt: ago(4 * time.Minute),
		}},
	}
}

func encoded(h metadata.Host) json.RawMessage {
	b, err := json.Marshal(h)
	if err != nil {
		panic(err)
	}
	return b
}

// secondHost adds a host like the first one, changed.
func secondHost(f *Facts, change func(*metadata.Host)) {
	var h metadata.Host
	if err := json.Unmarshal(f.Hosts[0].Programs[0].Facts, &h); err != nil {
		panic(err)
	}
	change(&h)
	w2 := f.Hosts[0]
	w2.Name, w2.Programs = "w2", []topology.Program{{Version: h.Major * 10000, Facts: encoded(h)}}
	f.Hosts = append(f.Hosts, w2)
}

func onlyHost(f *Facts, change func(*metadata.Host)) {
	secondHost(f, change)
	f.Hosts = f.Hosts[1:]
}

var (
	wrongKeys   = fault.Newf(fault.Invalid, "get", "InvalidAccessKeyId (HTTP 403)").WithHint("check the credentials")
	unreachable = fault.Newf(fault.Transient, "get", "connection refused")
	damaged     = fault.Newf(fault.Corrupt, "read segment", "its checksum is wrong").WithHint("take it from the other bucket")
)

const (
	isOK       = topology.ReadinessOK
	isWarning  = topology.ReadinessWarning
	isBlocking = topology.ReadinessBlocking
)

// judgeCases change one thing about the good facts. Of the check named, one item must be in the state and say the words;
// checks that cannot be made any more for the same reason are in without; everything else must stay ok.
var judgeCases = map[string]struct {
	change  func(f *Facts, w *Workspace)
	check   string
	state   topology.ReadinessState
	says    string
	without []string
}{
	"not configured":     {func(f *Facts, _ *Workspace) { f.To = "" }, "replication", isBlocking, "not replicated", nil},
	"a terminated group": {func(f *Facts, _ *Workspace) { f.Group.State = topology.GroupTerminated }, "replication", isBlocking, "is terminated", nil},
	"a workspace that is being made": {func(f *Facts, _ *Workspace) {
		f.Group.Workspaces = []topology.Workspace{{Name: "new", State: topology.WorkspacePending, Reason: "initdb failed"}, {Name: "old", State: topology.WorkspaceTerminated}}
	}, "state", isWarning, "It is pending, and a failover leaves it out: initdb failed.", nil},
	"wrong keys to the other bucket": {func(f *Facts, _ *Workspace) { setBucket(f, "west", func(b *Bucket) { b.Err = wrongKeys }) },
		"bucket", isBlocking, "answers, and may not be read from west with these keys", []string{"catalog"}},
	"the other bucket is unreachable": {func(f *Facts, _ *Workspace) { setBucket(f, "west", func(b *Bucket) { b.Err = unreachable }) },
		"bucket", isBlocking, "does not answer", []string{"catalog"}},
	"keys that may not write": {func(f *Facts, _ *Workspace) { setBucket(f, "west", func(b *Bucket) { b.Wrote.Err = wrongKeys }) }, "bucket", isBlocking, "may not be written to", nil},
	"a full bucket": {func(f *Facts, _ *Workspace) {
		setBucket(f, "west", func(b *Bucket) { b.Wrote.Err = fault.Newf(fault.Full, "put", "quota").WithHint("more") })
	}, "bucket", isBlocking, "takes nothing more", nil},
	"a damaged document": {func(f *Facts, _ *Workspace) { setBucket(f, "west", func(b *Bucket) { b.Err = damaged }) }, "bucket", isBlocking, "damaged", []string{"catalog"}},
	"wrong keys at home": {func(f *Facts, _ *Workspace) { setBucket(f, "east", func(b *Bucket) { b.Err = wrongKeys }) }, "bucket", isWarning, "A failover goes without it", nil},

	"the other bucket does not know the group": {func(f *Facts, _ *Workspace) {
		setBucket(f, "west", func(b *Bucket) { b.Err = fault.Newf(fault.Missing, "get", "no such key") })
	}, "catalog", isBlocking, "does not know the group", nil},
	"the other bucket has an old document": {func(f *Facts, _ *Workspace) { setBucket(f, "west", func(b *Bucket) { b.Revision = 6 }) }, "catalog", isWarning, "revision 6", nil},
	"the other bucket has an old epoch":    {func(f *Facts, _ *Workspace) { setBucket(f, "west", func(b *Bucket) { b.Epoch = 0 }) }, "catalog", isWarning, "epoch 0", nil},

	"an operation runs": {func(f *Facts, _ *Workspace) {
		f.Group.Operation = &topology.OperationRef{ID: "op2", Kind: "Failover", StartedAt: ago(3 * time.Minute)}
	}, "operation", isWarning, "Failover op2 has held the group for 3 min", nil},

	"no host ever":      {func(f *Facts, _ *Workspace) { f.Hosts = nil }, "worker", isBlocking, "No host of west has ever", []string{"capacity", "software"}},
	"every host silent": {func(f *Facts, _ *Workspace) { f.Hosts[0].AnnouncedAt = ago(4 * time.Minute) }, "worker", isBlocking, "w1 4 min ago", []string{"capacity", "software"}},
	"one host silent": {func(f *Facts, _ *Workspace) {
		secondHost(f, func(*metadata.Host) {})
		f.Hosts[1].AnnouncedAt = ago(time.Hour)
	}, "worker", isWarning, "silent: w2 60 min ago", nil},
	"hosts cannot be read": {func(f *Facts, _ *Workspace) { f.Hosts, f.HostsErr = nil, unreachable }, "worker", isWarning, "could not be checked", []string{"capacity", "software"}},

	"no room on the disk":    {func(f *Facts, _ *Workspace) { f.Hosts[0].DiskBytes = 1 << 30 }, "capacity", isBlocking, "workspace main", nil},
	"no memory for its size": {func(f *Facts, w *Workspace) { w.Size = topology.Size{Name: "S-1", MemoryBytes: 16 << 30, CPUs: 4} }, "capacity", isBlocking, "16GiB of memory", nil},

	"Temporal silent":    {func(f *Facts, _ *Workspace) { f.Temporal.Err = errors.New("connection refused") }, "temporal", isBlocking, "connection refused", nil},
	"Temporal not asked": {func(f *Facts, _ *Workspace) { f.Temporal = Answer{} }, "temporal", isWarning, "not asked", nil},

	"a host ahead":  {func(f *Facts, _ *Workspace) { stamp(f, "west", 20*time.Second) }, "clock", isWarning, "host w1 is 20 s ahead", nil},
	"a host behind": {func(f *Facts, _ *Workspace) { stamp(f, "west", -20*time.Second) }, "clock", isWarning, "host w1 is 20 s behind", nil},
	"our own clock behind": {func(f *Facts, _ *Workspace) {
		setBucket(f, "west", func(b *Bucket) {
			b.Ours = &catalog.Stamp{Writer: "this host", Said: ago(30 * time.Second), Stored: now}
		})
	}, "clock", isWarning, "this host is 30 s behind", nil},
	"no stamp to compare": {func(f *Facts, _ *Workspace) {
		for r := range f.Buckets {
			setBucket(f, r, func(b *Bucket) { b.Stamps = nil })
		}
	}, "clock", isWarning, "Nobody has written", nil},
	"stamps cannot be read": {func(f *Facts, _ *Workspace) { setBucket(f, "west", func(b *Bucket) { b.StampsErr = unreachable }) }, "clock", isWarning, "could not be checked", nil},

	"never tried":               {func(f *Facts, _ *Workspace) { f.Operations = nil }, "last restore", isWarning, "Nothing was ever restored", nil},
	"only failed ones":          {func(f *Facts, _ *Workspace) { f.Operations[0].State = topology.OperationFailed }, "last restore", isWarning, "Nothing was ever restored", nil},
	"tried long ago":            {func(f *Facts, _ *Workspace) { f.Operations[0].EndedAt = ago(100 * 24 * time.Hour) }, "last restore", isWarning, "100 days ago", nil},
	"operations cannot be read": {func(f *Facts, _ *Workspace) { f.OpsErr = unreachable }, "last restore", isWarning, "could not be checked", nil},

	"suspended":         {func(_ *Facts, w *Workspace) { w.State, w.WAL.MeasuredAt = topology.WorkspaceSuspended, ago(time.Hour) }, "state", isOK, "suspended", nil},
	"it does not serve": {func(_ *Facts, w *Workspace) { w.Sites = nil }, "state", isWarning, "no server in east", nil},
	"no snapshot":       {func(_ *Facts, w *Workspace) { w.Snapshot = nil }, "snapshot", isBlocking, "No snapshot is complete", []string{"capacity"}},
	"a snapshot at 43 %": {func(_ *Facts, w *Workspace) {
		w.Snapshot, w.Taking = nil, &topology.SnapshotProgress{Lineage: first, DoneBytes: 43, TotalBytes: 100}
	}, "snapshot", isBlocking, "43% of the first", []string{"capacity"}},
	"a failed snapshot": {func(_ *Facts, w *Workspace) {
		w.Snapshot, w.Taking = nil, &topology.SnapshotProgress{Lineage: first, Error: "disk"}
	}, "snapshot", isBlocking, "failed: disk", []string{"capacity"}},
	"a damaged manifest":              {func(_ *Facts, w *Workspace) { w.Snapshot, w.SnapshotErr = nil, damaged }, "snapshot", isBlocking, "checksum is wrong", []string{"capacity", "chain"}},
	"a damaged one beside a good one": {func(_ *Facts, w *Workspace) { w.SnapshotErr = damaged }, "snapshot", isWarning, "one beside it is not", nil},
	"snapshots cannot be listed":      {func(_ *Facts, w *Workspace) { w.Snapshot, w.SnapshotErr, w.ChainErr = nil, unreachable, unreachable }, "snapshot", isWarning, "could not be checked", []string{"capacity", "chain"}},
	"a stale snapshot":                {func(_ *Facts, w *Workspace) { w.Snapshot.CompletedAt = ago(40 * time.Hour) }, "snapshot", isWarning, "40 h old", nil},
	"a snapshot of an older lineage": {func(_ *Facts, w *Workspace) {
		w.Lineages = append(w.Lineages, topology.Lineage{ID: second, Parent: &topology.Fork{Lineage: first, At: wal.Position{Timeline: 1, LSN: 0x3000000}}})
		w.Lineage, w.WAL.Lineage = second, second
	}, "snapshot", isWarning, "is of lineage " + first, nil},

	"WAL that was announced is gone": {func(_ *Facts, w *Workspace) { w.Chain.Tip.LSN = 0x4000000 }, "chain", isBlocking, "0/4000000 to 0/5000000", nil},
	"WAL ends within the snapshot":   {func(_ *Facts, w *Workspace) { w.Chain.Tip.LSN, w.WAL.Cursors[0].Point.At.LSN = 0x2000080, 0x2000080 }, "chain", isBlocking, "before snapshot", nil},
	"WAL of the parent is gone":      {func(_ *Facts, w *Workspace) { w.Chain.Missing = "WAL of lineage " + first }, "chain", isBlocking, first + " is not in the bucket", nil},
	"a damaged segment":              {func(_ *Facts, w *Workspace) { w.ChainErr = damaged }, "chain", isBlocking, "cannot be read to its end", nil},
	"WAL cannot be listed":           {func(_ *Facts, w *Workspace) { w.ChainErr = unreachable }, "chain", isWarning, "could not be checked", nil},
	"a hole at the end":              {func(_ *Facts, w *Workspace) { w.Chain.Beyond = 0x6000000 }, "chain", isWarning, "more of it begins at 0/6000000", nil},

	"nobody ships":              {func(_ *Facts, w *Workspace) { w.WAL.MeasuredAt = ago(5 * time.Minute) }, "lag", isWarning, "Nobody has shipped for 5 min", nil},
	"nobody ever shipped":       {func(_ *Facts, w *Workspace) { w.WAL = nil }, "lag", isWarning, "No shipper has said", nil},
	"far behind":                {func(_ *Facts, w *Workspace) { w.WAL.Cursors[0].LagSeconds = 90 }, "lag", isWarning, "90.0 s and 2.0 KiB behind", nil},
	"the bucket refuses":        {func(_ *Facts, w *Workspace) { w.WAL.Cursors[0].Error = "denied" }, "lag", isWarning, "gets no further: denied", nil},
	"shipping stands still":     {func(_ *Facts, w *Workspace) { w.WAL.Error = "no slot" }, "lag", isWarning, "gets no further: no slot", nil},
	"progress cannot be read":   {func(_ *Facts, w *Workspace) { w.WAL, w.WALErr = nil, unreachable }, "lag", isWarning, "could not be checked", nil},
	"the slot is lost":          {func(_ *Facts, w *Workspace) { w.WAL.Slot.WALStatus = "lost" }, "slot", isWarning, "has dropped WAL", nil},
	"the slot is at risk":       {func(_ *Facts, w *Workspace) { w.WAL.Slot.WALStatus = "unreserved" }, "slot", isWarning, "may drop WAL", nil},
	"the slot holds much":       {func(_ *Facts, w *Workspace) { w.WAL.Slot.WALStatus = "extended" }, "slot", isWarning, "lost after 4.0 GiB more", nil},
	"the slot reserves nothing": {func(_ *Facts, w *Workspace) { w.WAL.Slot.WALStatus = "" }, "slot", isWarning, "reserves no WAL", nil},
	"the slot has no limit":     {func(_ *Facts, w *Workspace) { w.WAL.Slot.SafeWALSize = nil }, "slot", isWarning, "has no limit", nil},
	"the slot is not known":     {func(_ *Facts, w *Workspace) { w.WAL.Slot = topology.SlotState{} }, "slot", isWarning, "did not say", nil},

	"never captured": {func(_ *Facts, w *Workspace) { w.Metadata = nil }, "metadata", isWarning, "never captured", nil},
	"never listed":   {func(_ *Facts, w *Workspace) { w.InventoryAt = time.Time{} }, "metadata", isWarning, "never listed", nil},
	"an open prepared transaction": {func(_ *Facts, w *Workspace) {
		w.Metadata.Prepared = []metadata.PreparedTransaction{{GID: "t1", Database: "app", Since: ago(time.Hour)}}
	}, "prepared transactions", isWarning, "t1 in app since 2026-11-22 21:10 UTC", nil},
	"captured long ago":        {func(_ *Facts, w *Workspace) { w.CapturedAt = ago(time.Hour) }, "metadata", isWarning, "captured 60 min ago", nil},
	"a capture cannot be read": {func(_ *Facts, w *Workspace) { w.Metadata, w.MetadataErr = nil, unreachable }, "metadata", isWarning, "could not be checked", nil},

	"another PostgreSQL": {func(f *Facts, w *Workspace) {
		onlyHost(f, func(h *metadata.Host) { h.Major = 17 })
		w.Snapshot.ServerVersion = 0 // the capacity check is another test
	}, "postgres", isBlocking, "PostgreSQL 17", nil},
	"a missing extension": {func(f *Facts, _ *Workspace) { onlyHost(f, func(h *metadata.Host) { h.Extensions["pg_trgm"] = false }) }, "extensions", isBlocking, "pg_trgm", nil},
	"an extension only one lacks": {func(f *Facts, _ *Workspace) {
		secondHost(f, func(h *metadata.Host) { h.Extensions["pg_trgm"] = false })
	}, "extensions", isWarning, "(w2)", nil},
	"a missing library": {func(f *Facts, _ *Workspace) {
		onlyHost(f, func(h *metadata.Host) { h.Libraries["pg_stat_statements"] = false })
	}, "libraries", isBlocking, "pg_stat_statements", nil},
	"a missing locale": {func(f *Facts, _ *Workspace) {
		onlyHost(f, func(h *metadata.Host) { h.Locales = map[string]bool{"de_DE.utf8": true} })
	}, "locales", isBlocking, "en_US.UTF-8", nil},
	"another libc":              {func(f *Facts, _ *Workspace) { onlyHost(f, func(h *metadata.Host) { h.LibcVersion = "2.36" }) }, "collations", isWarning, "2.36", nil},
	"less memory":               {func(f *Facts, _ *Workspace) { onlyHost(f, func(h *metadata.Host) { h.MemoryBytes = 2 << 30 }) }, "memory", isWarning, "shared_buffers is 1GB", nil},
	"a host of another version": {func(f *Facts, _ *Workspace) { f.Hosts[0].Programs[0].Facts = json.RawMessage(`"old"`) }, "software", isWarning, "in a form that can be read", nil},
	"no programs":               {func(f *Facts, w *Workspace) { f.Hosts[0].Programs, w.Snapshot.ServerVersion = nil, 0 }, "software", isWarning, "cannot be compared", nil},

	"a left-out database": {func(f *Facts, w *Workspace) {
		f.Group.Replication.Databases = []string{"app"}
		w.Metadata.Databases = append(w.Metadata.Databases, metadata.Database{Name: "scratch"})
	}, "databases", isOK, "gone after a failover: scratch", nil},
	"a chosen database that is not there": {func(f *Facts, _ *Workspace) { f.Group.Replication.Databases = []string{"app", "main/gone"} }, "databases", isWarning, "not on the server: gone", nil},
	"an interrupted drop":                 {func(_ *Facts, w *Workspace) { w.Metadata.Databases[0].Invalid = true }, "databases", isWarning, "DROP DATABASE left: app", nil},
	"unlogged tables": {func(_ *Facts, w *Workspace) {
		w.Metadata.Notes = []string{"database app has 2 unlogged tables: they are empty after a failover"}
	}, "server", isWarning, "2 unlogged tables", nil},
	"a privilege that is missing": {func(_ *Facts, w *Workspace) {
		w.Metadata.Notes = []string{"some settings were left out; run: GRANT x TO y;"}
	}, "server", isWarning, "Some settings were left out.", nil},
	"a privilege on a function": {func(_ *Facts, w *Workspace) {
		w.Metadata.Notes = []string{"the rules could not be read; in the database postgres, run: GRANT EXECUTE ON FUNCTION f() TO y;"}
	}, "server", isWarning, "The rules could not be read.", nil},

	"a firewall that fits":           {func(f *Facts, _ *Workspace) { f.Group.Firewall.Ranges = []string{"10.0.0.0/8"} }, "firewall", isOK, "nobody whom", nil},
	"a firewall that lets all in":    {func(f *Facts, _ *Workspace) { f.Group.Firewall.AllowAll = true }, "firewall", isOK, "as it would there", nil},
	"a rule outside of the firewall": {func(f *Facts, _ *Workspace) { f.Group.Firewall.Ranges = []string{"10.0.0.0/9"} }, "firewall", isWarning, "host all all 10.0.0.0 255.0.0.0 scram-sha-256", nil},
	"a rule for everybody": {func(f *Facts, w *Workspace) {
		f.Group.Firewall.Ranges = []string{"10.0.0.0/8"}
		w.Metadata.HBA[0].Address, w.Metadata.HBA[0].Netmask = "all", ""
	}, "firewall", isWarning, "host all all all", nil},
	"a rule that another one stops": {func(f *Facts, w *Workspace) {
		f.Group.Firewall.Ranges = []string{"192.168.0.0/16"}
		reject := w.Metadata.HBA[0]
		reject.Method = "reject"
		w.Metadata.HBA = []metadata.HBARule{reject, w.Metadata.HBA[0]}
	}, "firewall", isOK, "nobody whom", nil},
	"unreadable rules": {func(f *Facts, w *Workspace) {
		f.Group.Firewall.Ranges, w.Metadata.HBAKnown = []string{"10.0.0.0/8"}, false
	}, "firewall", isWarning, "may not be read", nil},
}

func setBucket(f *Facts, region string, change func(*Bucket)) {
	b := f.Buckets[region]
	change(&b)
	f.Buckets[region] = b
}

// stamp makes the writer's clock differ from the bucket's.
func stamp(f *Facts, region string, ahead time.Duration) {
	setBucket(f, region, func(b *Bucket) { b.Stamps[0].Said = b.Stamps[0].Stored.Add(ahead) })
}

func TestNothingIsSaidOfWhatIsGood(t *testing.T) {
	for _, i := range judge(good()) {
		if i.State != isOK || i.Text == "" || i.Todo != "" {
			t.Errorf("%+v", i)
		}
	}
}

func TestEachTroubleIsItsOwnItem(t *testing.T) {
	for name, c := range judgeCases {
		t.Run(name, func(t *testing.T) {
			f := good()
			c.change(&f, &f.Workspaces[0])
			items := judge(f)
			if !slices.ContainsFunc(items, func(i item) bool { return i.Check == c.check && i.State == c.state && strings.Contains(i.Text, c.says) }) {
				t.Errorf("no item %q is %s and says %q", c.check, c.state, c.says)
			}
			for _, i := range items {
				if i.Check == c.check && i.State == c.state {
					continue
				}
				if i.State != isOK && !(i.State == isWarning && slices.Contains(c.without, i.Check)) {
					t.Errorf("also %+v", i)
				}
			}
			for _, i := range items {
				if (i.Todo == "") != (i.State == isOK) || !strings.HasSuffix(i.Text, ".") && !strings.HasSuffix(i.Text, ")") {
					t.Errorf("what to do, or the end of the sentence, is wrong in %+v", i)
				}
			}
		})
	}
}

// Every check is seen ok and in trouble by the cases above, so that none is there that nothing can trigger.
func TestEveryCheckIsSeenInEachState(t *testing.T) {
	seen := map[string]map[topology.ReadinessState]bool{}
	note := func(items []item) {
		for _, i := range items {
			if seen[i.Check] == nil {
				seen[i.Check] = map[topology.ReadinessState]bool{}
			}
			seen[i.Check][i.State] = true
		}
	}
	note(judge(good()))
	for _, c := range judgeCases {
		f := good()
		c.change(&f, &f.Workspaces[0])
		note(judge(f))
	}
	onlyTrouble := []string{"replication", "software", "server"} // said when there is something to say
	for check, states := range seen {
		if !states[isOK] && !slices.Contains(onlyTrouble, check) || !states[isWarning] && !states[isBlocking] {
			t.Errorf("check %q was seen only as %v", check, states)
		}
	}
	if len(seen) < 22 {
		t.Errorf("only %d checks were seen", len(seen))
	}
}

func TestWorst(t *testing.T) {
	for _, c := range []struct{ states, want string }{
		{"", "ok"}, {"ok", "ok"}, {"ok warning ok", "warning"}, {"blocking warning", "blocking"},
	} {
		var items []item
		for _, s := range strings.Fields(c.states) {
			items = append(items, item{State: topology.ReadinessState(s)})
		}
		if got := Worst(items); string(got) != c.want {
			t.Errorf("%q: %s", c.states, got)
		}
	}
}
