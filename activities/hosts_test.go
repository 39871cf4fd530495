package activities

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
)

// hostOf is a host of region west with a data folder of its own.
func (w *world) hostOf(t *testing.T, dir string) *Target {
	t.Helper()
	return &Target{Site: w.Site, Hosting: Hosting{
		DataDir: dir, Listen: "127.0.0.1", AdvertiseHost: "db1", MemoryBytes: 8 << 30, CPUs: 4, FirstPort: 1, LastPort: 65535, BinDirs: devenv.PostgresDirs(),
	}}
}

func placeOwner(t *testing.T, target *Target, o owner) (dir string) {
	t.Helper()
	dir = instanceDir(target.DataDir, o.Group, o.Workspace, o.Epoch)
	check(t, os.MkdirAll(dir, 0o755))
	check(t, writeState(dir, ownerFile, o))
	return dir
}

func TestAHostSaysWhatItOffersAndWhatIsPlacedOnIt(t *testing.T) {
	w := newWorld(t)
	host := w.hostOf(t, postgrestest.TempDir(t))
	check(t, NameHost(host, "", "machine"))
	small := topology.Size{Name: "S-00", MemoryBytes: 1 << 30, CPUs: 0.5}
	placeOwner(t, host, owner{Group: "prod", Workspace: "main", Epoch: 2, Size: topology.Size{MemoryBytes: 1}})
	placeOwner(t, host, owner{Group: "prod", Workspace: "main", Epoch: 4, Plan: WorkspacePlan{Need: Need{Size: small}}})
	placeOwner(t, host, owner{Group: "prod", Workspace: "side", Epoch: 1})
	check(t, AnnounceHost(t.Context(), host))
	hosts, err := w.process().Hosts(t.Context(), "west")
	check(t, err)
	if len(hosts) != 1 || len(hosts[0].Programs) == 0 {
		t.Fatalf("announced %+v", hosts)
	}
	got := hosts[0]
	want := topology.Host{
		Name: "machine", Region: "west", Machine: host.machine, MemoryBytes: 8 << 30, CPUs: 4, Advertise: "db1",
		Placed: []topology.Placed{{Group: "prod", Workspace: "main", Epoch: 4, Size: small}, {Group: "prod", Workspace: "side", Epoch: 1}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(topology.Host{}, "AnnouncedAt", "DiskBytes", "Programs")); diff != "" {
		t.Error(diff)
	}
	if age := time.Since(got.AnnouncedAt); age < 0 || age > time.Minute || got.DiskBytes <= 0 {
		t.Errorf("announced %s ago, %d bytes free", age, got.DiskBytes)
	}
	var facts metadata.Host
	check(t, json.Unmarshal(got.Programs[0].Facts, &facts))
	if facts.Major != got.Programs[0].Version/10000 || !facts.Extensions["plpgsql"] {
		t.Errorf("version %d offers %+v", got.Programs[0].Version, facts)
	}
}

func TestTwoMachinesOfOneName(t *testing.T) {
	w := newWorld(t)
	first, second := w.hostOf(t, t.TempDir()), w.hostOf(t, t.TempDir())
	for _, h := range []*Target{first, second} {
		check(t, NameHost(h, "db1", ""))
	}
	check(t, AnnounceHost(t.Context(), first))
	if err := AnnounceHost(t.Context(), second); !fault.Is(err, fault.Conflict) {
		t.Errorf("the second machine of the name: %v", err)
	}
	check(t, AnnounceHost(t.Context(), first))
	h, err := w.Catalog.Host(t.Context(), "west", "db1")
	check(t, err)
	h.AnnouncedAt = time.Now().Add(-topology.HostStaleAfter - time.Second)
	check(t, w.Catalog.PutHost(t.Context(), h))
	check(t, AnnounceHost(t.Context(), second))
	if err := KeepAnnouncing(t.Context(), first); !fault.Is(err, fault.Conflict) {
		t.Errorf("the first machine, whose name was taken: %v", err)
	}
}

func TestAHostsNameStaysWithItsServers(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	named := func(chosen, machine string) (string, error) {
		h := w.hostOf(t, dir)
		err := NameHost(h, chosen, machine)
		return h.Host, err
	}
	name, err := named("", "a")
	check(t, err)
	if again, err := named("", "b"); err != nil || again != name || name != "a" {
		t.Errorf("named %q, then %q, %v", name, again, err)
	}
	if again, err := named("c", "b"); err != nil || again != "c" {
		t.Errorf("an empty host chose %q, %v", again, err)
	}
	placeOwner(t, w.hostOf(t, dir), owner{Group: "prod", Workspace: "main", Epoch: 2})
	if _, err := named("d", "b"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a host with servers changed its name: %v", err)
	}
	if again, err := named("", "b"); err != nil || again != "c" {
		t.Errorf("now it is %q, %v", again, err)
	}
	if _, err := named("No Name", ""); !fault.Is(err, fault.Invalid) {
		t.Errorf("a bad name: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, machineFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := named("c", ""); !fault.Is(err, fault.Corrupt) {
		t.Errorf("a damaged note: %v", err)
	}
}
