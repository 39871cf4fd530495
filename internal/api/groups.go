package api

import (
	"context"
	"errors"
	"slices"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

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

// CreateGroup makes a workspace group, around servers that are there already and with new ones, and waits until it serves.
// Spec.Secondary and Spec.Databases are checked here and left to Configure.
func (s *Service) CreateGroup(ctx context.Context, spec GroupSpec) (ChangedGroup, error) {
	if err := s.checkSpec(ctx, spec); err != nil {
		return ChangedGroup{}, err
	}
	var out workflows.CreateGroupResult
	err := s.perform(ctx, workflows.CreateGroupID(spec.Name), workflows.CreateGroupType, "create group "+spec.Name, spec.input(), &out)
	return ChangedGroup{Group: out.Group, Warnings: out.Warnings}, err
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
		return fault.Newf(fault.Taken, "create group", "there is a group %s already", spec.Name).
			WithHint("`smartdr group show %s` shows it; `smartdr workspace create --group %s` adds a workspace to it.", spec.Name, spec.Name)
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
	g, err := s.changeable(ctx, req.Group)
	if err != nil {
		return Configured{}, err
	}
	err = firstOf(
		func() error { return g.Replicable(opChange) },
		func() error { return s.knownRegion(req.Secondary) },
		func() error { return differs(req.Secondary, g.Primary) },
		func() error { return validDatabases(req.Databases) },
		func() error { return g.CheckChoice(req.Databases) },
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
