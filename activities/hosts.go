package activities

import (
	"cmp"
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

const (
	// announceEvery is how old an announcement gets: three may be lost before a host counts as gone.
	announceEvery = time.Minute
	// announceAgain is how long to wait after one that failed.
	announceAgain = 15 * time.Second
	// inspectEvery is how old what is known of a host's programs gets: looking runs some of them.
	inspectEvery = 10 * time.Minute
	// presentFor is how old an announcement of a host may be that has not picked up work for two minutes, if it is only Temporal
	// that was away.
	presentFor = 90 * time.Second
)

// machineFile says which machine a data folder is of. The servers below it are known by the host's name, so the name
// stays with the folder: a container that is made anew has another host name, and the same servers.
const machineFile = "machine.json"

// machine is the content of machine.json.
type machine struct {
	ID   string `json:"id"`
	Host string `json:"host"`
}

// programs is what was last seen of a host's installations of PostgreSQL.
type programs struct {
	mu   sync.Mutex
	all  []topology.Program
	seen time.Time
}

// NameHost gives this host its name: the one that was chosen, else the one that its data folder has, else the machine's.
// A name is refused when servers lie in the data folder under another one.
func NameHost(t *Target, chosen, byDefault string) error {
	var m machine
	if t.DataDir != "" {
		if err := makeDataDir(t.DataDir); err != nil {
			return err
		}
		if _, err := readState(t.DataDir, machineFile, &m); err != nil {
			return err
		}
	}
	t.Host = cmp.Or(chosen, m.Host, byDefault)
	if err := topology.CheckName("host", t.Host); err != nil || t.DataDir == "" {
		return err
	}
	if m.Host != "" && m.Host != t.Host {
		if placed, err := t.placed(); err != nil || len(placed) > 0 {
			return cmp.Or(err, renamed(t.DataDir, m.Host, t.Host))
		}
	}
	m.ID, m.Host = cmp.Or(m.ID, uuid.NewString()), t.Host
	t.machine = m.ID
	return writeState(t.DataDir, machineFile, m)
}

func renamed(dir, was, is string) error {
	return fault.Newf(fault.Invalid, "name host", "the servers in %s belong to host %q, and this worker is to be host %q", dir, was, is).
		WithHint("Start it with --host %s, or with another data folder.", was)
}

// AnnounceHost says in the bucket of its region what a host offers. fault.Conflict means that another machine announces
// itself by the same name: two such would take each other's work, so a worker that gets this must not work.
func AnnounceHost(ctx context.Context, t *Target) error {
	if t.DataDir == "" || t.Host == "" {
		return nil // nothing can be placed here
	}
	h, err := t.describe(ctx)
	if err != nil {
		return err
	}
	there, err := t.Catalog.Host(ctx, t.Region, t.Host)
	if err != nil && !fault.Is(err, fault.Missing) && !fault.Is(err, fault.Corrupt) {
		return err
	}
	if err == nil && there.Machine != h.Machine && there.Fresh(h.AnnouncedAt) {
		return fault.Newf(fault.Conflict, "announce host", "another machine, with another data folder, is host %q of region %s: it said so %s ago",
			h.Name, h.Region, h.AnnouncedAt.Sub(there.AnnouncedAt).Round(time.Second)).
			WithHint("Give each machine a name of its own: --host NAME. If the other one is gone, wait until it has been silent for %s.", topology.HostStaleAfter)
	}
	return t.Catalog.PutHost(ctx, h)
}

// KeepAnnouncing announces the host until ctx is done, or until another machine has its name: then it returns why.
func KeepAnnouncing(ctx context.Context, t *Target) error {
	next := time.NewTimer(announceAgain)
	defer next.Stop()
	for {
		select {
		case <-next.C:
		case <-ctx.Done():
			return nil
		}
		t.sweepStandbys(ctx)
		t.sweepRetired(ctx)
		pause := announceEvery
		if err := AnnounceHost(ctx, t); err != nil && ctx.Err() == nil {
			if fault.Is(err, fault.Conflict) {
				return err
			}
			t.Log.WarnContext(ctx, "the host was not announced: nothing new is placed on it once its last announcement is old", "host", t.Host, "error", err)
			pause = announceAgain
		}
		next.Reset(pause)
	}
}

// tell announces the host after something was placed on it or removed. The next announcement says it again.
func (t *Target) tell(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	if err := AnnounceHost(ctx, t); err != nil {
		t.Log.WarnContext(ctx, "what was placed on this host was not announced", "host", t.Host, "error", err)
	}
}

// describe says what this host offers now.
func (t *Target) describe(ctx context.Context) (topology.Host, error) {
	h := topology.Host{
		Name: t.Host, Region: t.Region, Machine: t.machine, AnnouncedAt: now(),
		MemoryBytes: t.MemoryBytes, CPUs: t.CPUs, Advertise: t.AdvertiseHost,
	}
	var err error
	if h.DiskBytes, err = metadata.FreeBytes(t.DataDir); err != nil {
		return h, err
	}
	if h.Placed, err = t.placed(); err != nil {
		return h, err
	}
	for i, p := range h.Placed {
		if p.Branch != "" {
			continue
		}
		h.Placed[i].Spare = t.reclaimable(ctx, p.Group, p.Workspace)
	}
	h.Programs, err = t.offered(ctx)
	return h, err
}

// placed returns the servers that have their files here: of each workspace the newest, and those of branches.
func (t *Target) placed() ([]topology.Placed, error) {
	files, err := ownerFiles(t.DataDir, "*", "*")
	if err != nil {
		return nil, err
	}
	newest := map[string]topology.Placed{}
	for _, f := range files {
		var o owner
		if found, err := readState(filepath.Dir(f), ownerFile, &o); err != nil {
			return nil, err
		} else if !found {
			continue // removed meanwhile
		}
		if of := o.Group + "/" + o.Workspace; newest[of].Epoch <= o.Epoch {
			newest[of] = topology.Placed{Group: o.Group, Workspace: o.Workspace, Epoch: o.Epoch, Size: o.size()}
		}
	}
	all, err := t.placedBranches()
	for _, p := range newest {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b topology.Placed) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Workspace, b.Workspace), cmp.Compare(a.Branch, b.Branch))
	})
	return all, err
}

// offered returns the installations of PostgreSQL on this host, as seen at most inspectEvery ago.
func (t *Target) offered(ctx context.Context) ([]topology.Program, error) {
	t.programs.mu.Lock()
	defer t.programs.mu.Unlock()
	if time.Since(t.programs.seen) < inspectEvery {
		return t.programs.all, nil
	}
	var all []topology.Program
	for _, bin := range postgres.FindAll(t.BinDirs) {
		host, err := metadata.Inspect(ctx, bin, t.DataDir)
		if err != nil {
			return nil, err
		}
		facts, err := json.Marshal(host)
		if err != nil {
			return nil, fault.New(fault.Invalid, "describe programs", err)
		}
		all = append(all, topology.Program{Version: bin.Version, Facts: facts})
	}
	if ctx.Err() != nil {
		return nil, fault.New(fault.Transient, "look at PostgreSQL's programs", ctx.Err()) // what was cut short is not the truth
	}
	t.programs.all, t.programs.seen = all, time.Now()
	return all, nil
}
