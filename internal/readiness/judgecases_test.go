package readiness

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
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
