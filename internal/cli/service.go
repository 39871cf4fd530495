package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/config"
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

func (a *app) completeGroups(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
	defer cancel()
	s, err := a.service()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	groups, err := s.Groups(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, g := range groups.Groups {
		names = append(names, g.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeRegions(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	s, err := a.service()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return s.RegionNames(), cobra.ShellCompDirectiveNoFileComp
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
	return a.show(c, renderGroup(c))
}
