package cli

import (
	"context"
	"fmt"
	"iter"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/topology"
)

func (a *app) operationsCommand() *cobra.Command {
	var group, id string
	all := readsGroup(a, &group, (*api.Service).Operations, func(ops []topology.Operation, st render.Style) string {
		return render.Operations(ops, a.now(), st)
	})
	one := readsGroup(a, &group, func(s *api.Service, ctx context.Context, group string) (topology.Operation, error) {
		return s.Operation(ctx, group, id)
	}, func(op topology.Operation, st render.Style) string { return render.Operation(op, a.now(), st) })
	cmd := &cobra.Command{
		Use: "operations [ID]", Aliases: []string{"operation"}, Args: cobra.MaximumNArgs(1),
		Short:   "List a group's operations, or show one with its phases and timings",
		Example: "  smartdr operations --group prod\n  smartdr operations --group prod 0198c9f2-7c1e-7d3f-a3c4-6a52e1b8a001\n  smartdr operations -o json | jq '.[0].phases'",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return all(cmd, args)
			}
			id = args[0]
			return one(cmd, args)
		},
	}
	a.groupFlag(cmd, &group)
	return cmd
}

// follow shows an operation's phases as they come, and returns it as it ended.
func (a *app) follow(ctx context.Context, watch iter.Seq2[topology.Operation, error]) (last topology.Operation, err error) {
	view := a.phaseView(ctx)
	defer view.close()
	for op, err := range watch {
		if err != nil {
			return last, err
		}
		view.show(op)
		last = op
	}
	return last, nil
}

// phaseView shows an operation that goes on.
type phaseView interface {
	show(topology.Operation)
	close()
}

func (a *app) phaseView(ctx context.Context) phaseView {
	switch {
	case a.json() || a.flags.quiet:
		return noPhases{}
	case isTerminal(a.Out):
		return &phaseBars{app: a, bars: newBars(context.WithoutCancel(ctx), a), done: map[string]bool{}}
	}
	return &phaseLines{app: a, said: map[int]string{}}
}

type noPhases struct{}

func (noPhases) show(topology.Operation) {}
func (noPhases) close()                  {}

// phaseLines prints a line when a phase begins and when it ends.
type phaseLines struct {
	app  *app
	said map[int]string // by index of the phase
}

func (v *phaseLines) show(op topology.Operation) {
	for i, p := range op.Phases {
		if key := render.PhaseKey(p); v.said[i] != key {
			fmt.Fprintln(v.app.Out, render.Phase(p, v.app.now(), v.app.style()))
			v.said[i] = key
		}
	}
}

func (v *phaseLines) close() {}
