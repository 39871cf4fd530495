package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
)

// run is what a command does when the command line has been understood.
type run = func(cmd *cobra.Command, args []string) error

// reads asks for something and shows it, within the time that reading may take.
func reads[T any](a *app, get func(*api.Service, context.Context) (T, error), draw func(T, render.Style) string) run {
	return func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := a.reading(cmd.Context())
		defer cancel()
		s, err := a.service()
		if err != nil {
			return err
		}
		return answer(ctx, a, s, get, draw)
	}
}

// readsGroup is reads for what is asked of a group: the one that was named, else the only one there is.
func readsGroup[T any](a *app, group *string, get func(*api.Service, context.Context, string) (T, error), draw func(T, render.Style) string) run {
	return func(cmd *cobra.Command, _ []string) error {
		return a.readGroup(cmd, *group, func(ctx context.Context, s *api.Service, name string) error {
			return answer(ctx, a, s, func(s *api.Service, ctx context.Context) (T, error) { return get(s, ctx, name) }, draw)
		})
	}
}

func answer[T any](ctx context.Context, a *app, s *api.Service, get func(*api.Service, context.Context) (T, error), draw func(T, render.Style) string) error {
	v, err := get(s, ctx)
	if err != nil {
		return err
	}
	return a.show(v, func(st render.Style) string { return draw(v, st) })
}

// changes does something to the group that was named, for as long as it takes or the user said.
func (a *app) changes(cmd *cobra.Command, group string, do func(ctx context.Context, s *api.Service) error) error {
	if err := needGroup(cmd, group); err != nil {
		return err
	}
	ctx, cancel := a.waiting(cmd.Context())
	defer cancel()
	s, err := a.service()
	if err != nil {
		return err
	}
	return do(ctx, s)
}
