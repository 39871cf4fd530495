package api

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// Regions returns the configured regions, sorted by name, and asks each bucket for an answer.
func (s *Service) Regions(ctx context.Context) []Region {
	names := s.cfg.RegionNames()
	regions := make([]Region, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { regions[i] = s.region(ctx, name) })
	}
	all.Wait()
	s.countWorkers(ctx, regions)
	return regions
}

func (s *Service) region(ctx context.Context, name string) Region {
	r := Region{Name: name}
	cfg, err := s.cfg.Region(name)
	if err == nil {
		r.Provider, r.Bucket, r.Endpoint = cfg.Provider, cfg.Bucket, cfg.Endpoint
		err = s.answers(ctx, name)
	}
	r.Reachable = err == nil
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// answers asks a bucket for the first of its groups.
func (s *Service) answers(ctx context.Context, region string) error {
	store, err := s.store(ctx, region)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.bucketTimeout())
	defer cancel()
	return listOne(ctx, store)
}

func listOne(ctx context.Context, store objectstore.Store) error {
	for _, err := range store.List(ctx, "groups/", "") {
		return err
	}
	return nil
}

// countWorkers fills in how many workers each region has, if Temporal answers.
func (s *Service) countWorkers(ctx context.Context, regions []Region) {
	c, err := s.dial(ctx)
	if err != nil {
		s.opts.Log.DebugContext(ctx, "workers are not counted", "error", err)
		return
	}
	for i, r := range regions {
		n, err := s.workers(ctx, c, workflows.RegionQueue(r.Name), enumspb.TASK_QUEUE_TYPE_ACTIVITY)
		if err == nil {
			regions[i].Workers = &n
		}
	}
}

// Groups returns all groups that any bucket knows, sorted by name.
func (s *Service) Groups(ctx context.Context) (Groups, error) {
	c, err := s.openCatalog(ctx)
	if err != nil {
		return Groups{}, err
	}
	names, silent, err := c.Groups(ctx)
	if err != nil {
		return Groups{}, err
	}
	out := Groups{Groups: []topology.Group{}, Silent: silent, ReadFrom: s.others(silent)}
	for _, name := range slices.Sorted(slices.Values(names)) {
		loaded, err := c.Load(ctx, name)
		if err != nil {
			return Groups{}, err
		}
		out.Groups = append(out.Groups, loaded.Group)
	}
	return out, nil
}

func (s *Service) others(silent map[string]string) []string {
	regions := []string{}
	for _, r := range s.cfg.RegionNames() {
		if _, is := silent[r]; !is {
			regions = append(regions, r)
		}
	}
	return regions
}

// Group returns one group; fault.Missing when there is none of that name.
func (s *Service) Group(ctx context.Context, name string) (topology.Group, error) {
	if err := topology.CheckName("group", name); err != nil {
		return topology.Group{}, err
	}
	c, err := s.openCatalog(ctx)
	if err != nil {
		return topology.Group{}, err
	}
	loaded, err := c.Load(ctx, name)
	return loaded.Group, err
}

// CreateGroup makes a workspace group around servers that are there already, and waits until it is recorded.
// Spec.Secondary and Spec.Databases are checked here and left to Configure.
func (s *Service) CreateGroup(ctx context.Context, spec GroupSpec) (Created, error) {
	if err := s.checkSpec(ctx, spec); err != nil {
		return Created{}, err
	}
	in := workflows.CreateGroupInput{Name: spec.Name, Primary: spec.Primary}
	for _, w := range spec.Workspaces {
		in.Workspaces = append(in.Workspaces, workflows.WorkspaceInput{Name: w.Name, Source: w.Source()})
	}
	var out workflows.CreateGroupResult
	err := s.perform(ctx, workflows.CreateGroupID(spec.Name), workflows.CreateGroupType, "create group "+spec.Name, in, &out)
	return Created{Group: out.Group, Warnings: out.Warnings}, err
}

func (s *Service) checkSpec(ctx context.Context, spec GroupSpec) error {
	if err := spec.Validate(); err != nil {
		return err
	}
	for _, region := range []string{spec.Primary, spec.Secondary} {
		if region != "" {
			if err := s.knownRegion(region); err != nil {
				return err
			}
		}
	}
	_, err := s.Group(ctx, spec.Name)
	switch {
	case err == nil:
		return fault.Newf(fault.Conflict, "create group", "there is a group %s already", spec.Name).
			WithHint("`smartdr group show %s` shows it. Adding a workspace to a group is not part of this version.", spec.Name)
	case fault.Is(err, fault.Missing), errors.Is(err, catalog.ErrUnseen):
		return nil // in a bucket that does not answer there may be one: who records the group finds out
	}
	return err
}

func (s *Service) knownRegion(name string) error {
	_, err := s.cfg.Region(name)
	return err
}

// Configure chooses the region and the databases to replicate, and waits until replication has been started.
func (s *Service) Configure(ctx context.Context, req ConfigureRequest) (Configured, error) {
	g, err := s.Group(ctx, req.Group)
	if err != nil {
		return Configured{}, err
	}
	err = firstOf(
		func() error { return s.knownRegion(req.Secondary) },
		func() error { return differs(req.Secondary, g.Primary) },
		func() error { return validDatabases(req.Databases) },
		func() error { return free(g) },
	)
	if err != nil {
		return Configured{}, err
	}
	in := workflows.ConfigureInput{Group: req.Group, Secondary: req.Secondary, Databases: req.Databases}
	var out workflows.ConfigureResult
	summary := "replicate " + req.Group + " to " + req.Secondary
	err = s.perform(ctx, workflows.ConfigureID(req.Group), workflows.ConfigureType, summary, in, &out)
	return Configured{Group: out.Group, Replication: out.Replication, Warnings: out.Warnings}, err
}

func differs(secondary, primary string) error {
	if secondary == primary {
		return sameRegion(primary)
	}
	return nil
}

// free refuses a group that an operation holds.
func free(g topology.Group) error {
	if g.Operation == nil {
		return nil
	}
	return fault.Newf(fault.Conflict, "change group", "%s %s of group %s is under way since %s",
		g.Operation.Kind, g.Operation.ID, g.Name, g.Operation.StartedAt.UTC().Format("15:04:05 UTC")).
		WithHint("`smartdr operations --group %s %s` shows how far it is.", g.Name, g.Operation.ID)
}

// Databases returns the group's databases by workspace and name, those that are left out too where they are known.
func (s *Service) Databases(ctx context.Context, group string) ([]Database, error) {
	st, err := s.Status(ctx, group)
	if err != nil {
		return nil, err
	}
	out := []Database{}
	for _, w := range st.Workspaces {
		out = append(out, databasesOf(w)...)
	}
	return out, nil
}

func databasesOf(w topology.WorkspaceStatus) []Database {
	known := map[string]Database{}
	sizes := map[string]int64{}
	if w.Snapshot != nil {
		for _, d := range w.Snapshot.Databases {
			if sizes[d.Name] = d.TotalBytes; d.Replicated {
				continue // the status names it, unless it is a template or was dropped
			}
			known[d.Name] = Database{Workspace: w.Workspace, Name: d.Name, SizeBytes: d.TotalBytes}
		}
	}
	for _, d := range w.Databases {
		known[d.Database] = Database{
			Workspace: w.Workspace, Name: d.Database, Replicated: true, SizeBytes: sizes[d.Database], State: d.State, Reason: d.Reason,
		}
	}
	var out []Database
	for _, name := range slices.Sorted(maps.Keys(known)) {
		out = append(out, known[name])
	}
	return out
}

// ConnectionStrings returns how clients connect to the side that serves, and to whichever serves.
func (s *Service) ConnectionStrings(ctx context.Context, req ConnectionRequest) (Connection, error) {
	g, err := s.Group(ctx, req.Group)
	if err != nil {
		return Connection{}, err
	}
	return connection(g, req)
}

// RegionNames returns the configured regions, sorted.
func (s *Service) RegionNames() []string { return s.cfg.RegionNames() }
