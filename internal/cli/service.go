package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/config"
	"github.com/smartdr/smartdr/internal/topology"
)

// service returns the API over the configuration, which is read when it is first needed.
func (a *app) service() (*api.Service, error) {
	if a.api != nil {
		return a.api, nil
	}
	path := a.flags.config
	if path == "" {
		path = a.Getenv(config.EnvPath)
	}
	cfg, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	a.api = api.New(cfg, api.Options{})
	return a.api, nil
}

// completeTimeout bounds shell completion: nobody waits longer for a name.
const completeTimeout = 2 * time.Second

// complete offers the names that ask finds, without a word when it finds none.
func (a *app) complete(ctx context.Context, ask func(context.Context, *api.Service) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	s, err := a.service()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, err := ask(ctx, s)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeGroups(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd.Context(), func(ctx context.Context, s *api.Service) ([]string, error) {
		groups, err := s.Groups(ctx)
		return groups.Names(), err
	})
}

// completeWorkspaces offers the workspaces of the group that was named, else of the only one there is.
func (a *app) completeWorkspaces(group *string) completion {
	offer := a.completeOf(group, func(ctx context.Context, s *api.Service, name string) (names []string, err error) {
		all, err := s.Workspaces(ctx, name)
		for _, w := range all {
			names = append(names, w.Name)
		}
		return names, err
	})
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return offer(cmd, args, begun)
	}
}

// completion is how cobra asks for names.
type completion = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective)

func (a *app) completeOf(group *string, ask func(ctx context.Context, s *api.Service, group string) ([]string, error)) completion {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.complete(cmd.Context(), func(ctx context.Context, s *api.Service) ([]string, error) {
			name, err := a.anyGroup(ctx, cmd, *group)
			if err != nil {
				return nil, err
			}
			return ask(ctx, s, name)
		})
	}
}

// completeDatabases offers the databases of the group that was named, else of the only one there is.
func (a *app) completeDatabases(group *string) completion {
	return a.completeOf(group, func(ctx context.Context, s *api.Service, name string) (names []string, err error) {
		all, err := s.Databases(ctx, name)
		for _, d := range all {
			if d.Kind == topology.AttachedKind { // of the others nothing is chosen
				names = append(names, d.Workspace+"/"+d.Name)
			}
		}
		return names, err
	})
}

func (a *app) completeRegions(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd.Context(), func(_ context.Context, s *api.Service) ([]string, error) { return s.RegionNames(), nil })
}

// configure configures replication and shows the group as it is then.
func (a *app) configure(ctx context.Context, req api.ConfigureRequest) error {
	s, err := a.service()
	if err != nil {
		return err
	}
	c, err := s.Configure(ctx, req)
	if err != nil {
		return err
	}
	a.warn(c.Warnings)
	a.advise("Replication to %s has begun. Next: smartdr status --group %s --watch", req.Secondary, req.Group)
	return a.show(c, func(render.Style) string { return render.Choice(c.Group) })
}
