package readiness

import (
	"encoding/json"
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
