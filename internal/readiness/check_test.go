package readiness_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/readiness"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	lineage = "0001-00000001"
	start   = wal.LSN(16 << 20)
	length  = 3000 // bytes of WAL in each of two segments
)

// world is a group that is replicated from east to west, in the buckets of two real object stores.
type world struct {
	t        *testing.T
	gateways map[string]*devenv.Gateway
	stores   map[string]objectstore.Store
	catalog  *catalog.Catalog
	now      time.Time
}

func gateways(t *testing.T) map[string]*devenv.Gateway {
	return map[string]*devenv.Gateway{"east": devtest.Gateway(t), "west": devtest.Gateway(t)}
}

// newWorld makes a group for which a failover would work, in places of its own in the buckets.
func newWorld(t *testing.T, gateways map[string]*devenv.Gateway) *world {
	t.Helper()
	w := &world{t: t, gateways: gateways, stores: map[string]objectstore.Store{}, now: time.Now().UTC()}
	for region := range gateways {
		w.stores[region] = w.open(region, func(*objectstore.S3Config) {})
	}
	w.catalog = &catalog.Catalog{Stores: w.stores}
	for _, step := range []func() error{w.create, w.configure, w.snapshot, w.segments, w.announce, w.host, w.metadata, w.tried} {
		w.must(step())
	}
	return w
}

func (w *world) open(region string, change func(*objectstore.S3Config)) objectstore.Store {
	w.t.Helper()
	cfg := w.gateways[region].S3Config()
	change(&cfg)
	s, err := objectstore.NewS3(w.t.Context(), cfg)
	w.must(err)
	w.t.Cleanup(s.Close)
	return objectstore.Sub(s, w.t.Name()+"/"+objectstore.Root)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) create() error {
	_, err := w.catalog.Create(w.t.Context(), topology.Group{
		ID: topology.NewGroupID(), Name: "prod", CreatedAt: w.now, Primary: "east", Active: "east", Authority: "east", Epoch: 1, SmartDR: true,
		Workspaces: []topology.Workspace{{Name: "main", Sites: map[string]topology.Site{"east": {Kind: topology.Adopted}}}},
	})
	return err
}

func (w *world) configure() error {
	_, err := w.catalog.MoveAuthority(w.t.Context(), "prod", "west", func(g *topology.Group) error {
		g.Secondary, g.Replication = "west", &topology.Replication{ConfiguredAt: w.now}
		g.Workspaces[0].Lineage, g.Workspaces[0].Lineages = lineage, []topology.Lineage{w.lineage()}
		return nil
	})
	return err
}

func (w *world) lineage() topology.Lineage {
	return topology.Lineage{ID: lineage, Epoch: 1, Region: "east", SystemID: "1", SegmentSize: 16 << 20, Start: wal.Position{Timeline: 1, LSN: start}, CreatedAt: w.now}
}

func (w *world) manifest(completed time.Time) *snapshot.Manifest {
	return &snapshot.Manifest{
		Format: snapshot.Format, ID: snapshot.NewID(completed), Group: "prod", Workspace: "main", Lineage: lineage, ServerVersion: 180001,
		Start: wal.Position{Timeline: 1, LSN: start + 100}, End: wal.Position{Timeline: 1, LSN: start + 2000}, SegmentSize: 16 << 20,
		CompletedAt: completed, TotalBytes: 1 << 20, Files: []snapshot.File{{Path: "PG_VERSION", Dir: true, Mode: 0o700}},
	}
}

func (w *world) snapshot() error {
	return snapshot.Publish(w.t.Context(), w.stores["west"], w.manifest(w.now.Add(-time.Hour)))
}

// segments stores two segments in the other region's bucket.
func (w *world) segments() error {
	raw := []byte(strings.Repeat("some WAL, ", 2*length/10))
	d := archive.NewDigest()
	a := archive.Open(w.stores["west"], "prod", "main", lineage)
	for i := range 2 {
		h := archive.Header{
			Group: "prod", Workspace: "main", Lineage: lineage, Epoch: 1, SystemID: "1", Timeline: 1, State: d.State(),
			Start: start + wal.LSN(i*length), End: start + wal.LSN((i+1)*length), RecordEnd: start + wal.LSN((i+1)*length),
		}
		part := raw[i*length : (i+1)*length]
		d.Write(part)
		h.Digest = d.Sum()
		s, err := archive.Seal(h, part)
		if err != nil {
			return err
		}
		if _, err := a.Put(w.t.Context(), s); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) progress() topology.WALProgress {
	safe := int64(1 << 30)
	point := topology.RecoveryPoint{Lineage: lineage, At: wal.Position{Timeline: 1, LSN: start + 2*length}}
	return topology.WALProgress{
		Lineage: lineage, Epoch: 1, MeasuredAt: time.Now(), Server: point.At, Slot: topology.SlotState{Name: "smartdr_prod_main", WALStatus: "reserved", SafeWALSize: &safe},
		Cursors: []topology.Cursor{{Region: "east", Point: point}, {Region: "west", Point: point}},
	}
}

func (w *world) announce() error {
	return w.catalog.PutWALProgress(w.t.Context(), "prod", "main", w.progress())
}

func (w *world) hostNow(change func(*topology.Host, *metadata.Host)) error {
	facts := metadata.Host{Major: 18, Extensions: map[string]bool{"pg_trgm": true}, MemoryBytes: 8 << 30}
	h := topology.Host{Name: "w1", Region: "west", AnnouncedAt: time.Now(), MemoryBytes: 8 << 30, CPUs: 4, DiskBytes: 10 << 30}
	change(&h, &facts)
	b, err := json.Marshal(facts)
	if err != nil {
		return err
	}
	h.Programs = []topology.Program{{Version: 180001, Facts: b}}
	return w.catalog.PutHost(w.t.Context(), h)
}

func (w *world) host() error { return w.hostNow(func(*topology.Host, *metadata.Host) {}) }

func (w *world) metadata() error {
	b, err := json.Marshal(metadata.Metadata{
		ServerVersion: 180001, HBAKnown: true, Databases: []metadata.Database{{Name: "app"}}, Extensions: []metadata.Extension{{Database: "app", Name: "pg_trgm"}},
	})
	if err != nil {
		return err
	}
	if err := w.catalog.PutInventory(w.t.Context(), "prod", "main", catalog.Inventory{Epoch: 1, CapturedAt: time.Now(), Looks: json.RawMessage("{}")}); err != nil {
		return err
	}
	return w.catalog.PutMetadata(w.t.Context(), "prod", "main", catalog.Metadata{Epoch: 1, CapturedAt: time.Now(), Databases: []string{"app"}, Server: b})
}

func (w *world) tried() error {
	op := topology.Operation{ID: "op1", Kind: "Failover", Group: "prod", State: topology.OperationCompleted, StartedAt: w.now.Add(-time.Hour), EndedAt: w.now.Add(-59 * time.Minute)}
	return w.catalog.PutOperation(w.t.Context(), op)
}

// check returns the checks that are not ok, as "check: state".
func (w *world) check() (troubles []string, r topology.Readiness) {
	w.t.Helper()
	in := readiness.Inputs{
		Catalog: &catalog.Catalog{Stores: w.stores, Timeout: 2 * time.Second}, Stores: w.stores, Group: "prod", From: "west", Write: true,
		Temporal: func(context.Context) error { return nil },
	}
	r, err := readiness.Check(w.t.Context(), in)
	w.must(err)
	for _, i := range r.Items {
		if i.State != topology.ReadinessOK {
			troubles = append(troubles, fmt.Sprintf("%s: %s", i.Check, i.State))
		}
	}
	return troubles, r
}

// reopen makes a bucket be reached in another way from now on.
func (w *world) reopen(region string, change func(*objectstore.S3Config)) {
	w.stores[region] = w.open(region, change)
}

// drop removes the objects of the other region's bucket whose keys hold a text.
func (w *world) drop(part string) {
	w.t.Helper()
	n := 0
	for info, err := range w.stores["west"].List(w.t.Context(), "", "") {
		w.must(err)
		if strings.Contains(info.Key, part) {
			w.must(w.stores["west"].Delete(w.t.Context(), info.Key))
			n++
		}
	}
	if n == 0 {
		w.t.Fatalf("no object's key holds %q", part)
	}
}

// unasked is what cannot be looked at without the other region's bucket.
var unasked = []string{
	"bucket: blocking", "catalog: warning", "worker: warning", "capacity: warning", "clock: warning", "snapshot: warning", "chain: warning", "software: warning",
}

// plants are troubles, planted in what is really stored or in how it is reached, each with all that it must show.
var plants = map[string]struct {
	plant func(w *world)
	want  []string
	says  string
}{
	"nothing":     {func(*world) {}, nil, ""},
	"a wrong key": {func(w *world) { w.reopen("west", func(c *objectstore.S3Config) { c.SecretKey = "wrong" }) }, unasked, "may not be read from west with these keys"},
	"keys that may only read": {func(w *world) {
		f := &objectstore.Faults{}
		f.Add(objectstore.Rule{Ops: objectstore.OpPut, Fail: fault.Newf(fault.Invalid, "put", "AccessDenied (HTTP 403)")})
		w.stores["west"] = objectstore.WithFaults(w.stores["west"], f)
	}, []string{"bucket: blocking"}, "may not be written to from west"},
	"no such bucket":  {func(w *world) { w.reopen("west", func(c *objectstore.S3Config) { c.Bucket = "nowhere" }) }, unasked, "NoSuchBucket"},
	"a dead bucket":   {func(w *world) { w.reopen("west", func(c *objectstore.S3Config) { c.Endpoint = "http://127.0.0.1:9" }) }, unasked, "does not answer"},
	"the lost region": {func(w *world) { w.reopen("east", func(c *objectstore.S3Config) { c.Endpoint = "http://127.0.0.1:9" }) }, []string{"bucket: warning"}, "A failover goes without it"},
	"a stale snapshot": {func(w *world) {
		w.drop("/snapshots/")
		w.must(snapshot.Publish(w.t.Context(), w.stores["west"], w.manifest(w.now.Add(-72*time.Hour))))
	}, []string{"snapshot: warning"}, "3 days old"},
	"no snapshot":               {func(w *world) { w.drop("/snapshots/") }, []string{"capacity: warning", "snapshot: blocking"}, "No snapshot is complete"},
	"the last segment is gone":  {func(w *world) { w.drop("/0000000001000BB8-") }, []string{"chain: blocking"}, "WAL from 0/1000BB8 to 0/1001770 was announced"},
	"a segment between is gone": {func(w *world) { w.drop("/0000000001000000-") }, []string{"chain: blocking"}, "WAL from 0/1000000 to 0/1001770"},
	"a damaged segment": {func(w *world) {
		key := archive.Open(w.stores["west"], "prod", "main", lineage).Key(1, wal.Range{Start: start + length, End: start + 2*length})
		_, err := w.stores["west"].Put(w.t.Context(), key, []byte("SDRSEG1\nnonsense"), objectstore.PutOptions{})
		w.must(err)
	}, []string{"chain: blocking"}, "cannot be read to its end"},
	"no host": {func(w *world) { w.drop("hosts/") }, []string{"worker: blocking", "capacity: warning", "software: warning"}, "No host of west"},
	"a silent host": {func(w *world) {
		w.must(w.hostNow(func(h *topology.Host, _ *metadata.Host) { h.AnnouncedAt = time.Now().Add(-10 * time.Minute) }))
		w.date("west", "hosts/w1.json", 10*time.Minute)
	}, []string{"worker: blocking", "capacity: warning", "software: warning"}, "No worker runs in west"},
	"a host ten minutes behind": {func(w *world) {
		w.must(w.hostNow(func(h *topology.Host, _ *metadata.Host) { h.AnnouncedAt = time.Now().Add(-10 * time.Minute) }))
	}, []string{"worker: blocking", "capacity: warning", "clock: warning", "software: warning"}, "host w1 is 10 min behind"},
	"a missing extension": {func(w *world) {
		w.must(w.hostNow(func(_ *topology.Host, h *metadata.Host) { h.Extensions = map[string]bool{"plpgsql": true} }))
	}, []string{"extensions: blocking"}, "pg_trgm"},
	"a small host": {func(w *world) { w.must(w.hostNow(func(h *topology.Host, _ *metadata.Host) { h.DiskBytes = 1 << 20 })) }, []string{"capacity: blocking"}, "main"},
	"a skewed clock": {func(w *world) {
		w.must(w.hostNow(func(h *topology.Host, _ *metadata.Host) { h.AnnouncedAt = time.Now().Add(40 * time.Second) }))
	}, []string{"clock: warning"}, "host w1 is"},
	"the shipper is dead": {func(w *world) {
		p := w.progress()
		p.MeasuredAt = time.Now().Add(-2 * time.Hour)
		w.must(w.catalog.PutWALProgress(w.t.Context(), "prod", "main", p))
		for region := range w.stores {
			w.date(region, "groups/prod/workspaces/main/progress/wal.json", 2*time.Hour)
		}
	}, []string{"lag: warning"}, "Nobody has shipped for 2 h"},
	"the document was not copied": {func(w *world) { w.drop("groups/prod/group.json") }, []string{"catalog: blocking"}, "does not know the group"},
	"never tried":                 {func(w *world) { w.neverTried() }, []string{"last restore: warning"}, "Nothing was ever restored"},
}

// date makes an object look as if it had been stored a while ago.
func (w *world) date(region, key string, age time.Duration) {
	w.t.Helper()
	g, at := w.gateways[region], time.Now().Add(-age)
	file := filepath.Join(g.DataDir(), g.S3Config().Bucket, w.t.Name(), objectstore.Root, key)
	w.must(os.Chtimes(file, at, at))
	info, err := w.stores[region].Head(w.t.Context(), key)
	w.must(err)
	if d := info.Modified.Sub(at).Abs(); d > time.Second {
		w.t.Fatalf("the store dates %s %s otherwise", key, d)
	}
}

func (w *world) neverTried() {
	w.drop("operations/op1.json")
	w.must(w.stores["east"].Delete(w.t.Context(), "groups/prod/operations/op1.json"))
}

func TestPlantedTroubleShowsAsItsItem(t *testing.T) {
	there := gateways(t)
	for name, c := range plants {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			w := newWorld(t, there)
			c.plant(w)
			troubles, r := w.check()
			if diff := cmp.Diff(c.want, troubles); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if !slices.ContainsFunc(r.Items, func(i topology.ReadinessItem) bool {
				return i.State != topology.ReadinessOK && strings.Contains(i.Text, c.says)
			}) && c.want != nil {
				t.Errorf("nothing says %q in %+v", c.says, r.Items)
			}
		})
	}
}

func TestAnUnknownGroupIsAnError(t *testing.T) {
	w := newWorld(t, gateways(t))
	_, err := readiness.Check(t.Context(), readiness.Inputs{Catalog: w.catalog, Stores: w.stores, Group: "other"})
	if !fault.Is(err, fault.Missing) {
		t.Errorf("got %v", err)
	}
}
