package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/topology"
)

// watchEvery is how often a watched status is read: as often as a shipper announces.
const watchEvery = time.Second

const statusLong = `Show how far each database's replication is.

  Pending   the first snapshot is not complete in the other region's bucket; DONE says how far it is
  Active    a failover now would have the database at its recovery point
  Inactive  a failover now would have it, but nobody has shipped for more than a minute
  Error     shipping stands still for a reason that needs somebody

Databases that are left out are not shown: smartdr databases lists them. Workspaces that do not serve are named above, and
why. LAG is the age and size of what the server has flushed and the bucket does not hold; AGE is how long ago that was
measured.
Read from the buckets alone; where Temporal answers, the shippers' newest word is shown.`

const statusExample = `  smartdr status
  smartdr status --group prod --watch
  smartdr status --group prod --wait --timeout 10m      # until every database is Active
  smartdr status -o json | jq '.workspaces[].databases[] | {database, state, lag}'`

func (a *app) statusCommand() *cobra.Command {
	var group string
	var watch, wait bool
	cmd := &cobra.Command{
		Use: "status", Short: "Show how far replication is", Args: cobra.NoArgs, Long: statusLong, Example: statusExample,
		RunE: func(cmd *cobra.Command, _ []string) error {
			bound := a.reading
			if watch || wait {
				bound = a.waiting
			}
			ctx, cancel := bound(cmd.Context())
			defer cancel()
			name, err := a.anyGroup(ctx, cmd, group)
			if err != nil {
				return err
			}
			if watch || wait {
				return a.watchStatus(ctx, name, wait)
			}
			return a.status(ctx, name)
		},
	}
	a.groupFlag(cmd, &group)
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on showing it, until interrupted")
	cmd.Flags().BoolVar(&wait, "wait", false, "show progress until every database is Active")
	return cmd
}

func (a *app) status(ctx context.Context, group string) error {
	s, err := a.service()
	if err != nil {
		return err
	}
	st, err := s.Status(ctx, group)
	if err != nil {
		return err
	}
	return a.show(st, func(style render.Style) string {
		return render.Status(st, a.now(), style) + a.readinessLine(ctx, s, group, style)
	})
}

// watchStatus shows the status again and again. With wait it ends when every database is Active.
func (a *app) watchStatus(ctx context.Context, group string, wait bool) error {
	s, err := a.service()
	if err != nil {
		return err
	}
	view := a.statusView(ctx)
	defer view.close()
	every := time.NewTicker(watchEvery)
	defer every.Stop()
	for {
		st, err := s.Status(ctx, group)
		switch {
		case err == nil:
			view.show(st)
		case ctx.Err() != nil:
			return ended(ctx, wait)
		case api.ClassOf(err) != api.Unreachable:
			return err
		default:
			view.say(err.Error())
		}
		if wait && err == nil && inSync(st) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ended(ctx, wait)
		case <-every.C:
		}
	}
}

// ended says whether the end of a watch is a failure: it is when something was waited for that did not come.
func ended(ctx context.Context, wait bool) error {
	if !wait {
		return nil
	}
	return fmt.Errorf("not every database is Active yet: %w", ctx.Err())
}

// inSync reports whether every workspace that replicates is whole in the other region's bucket. One that has none of the chosen
// databases is when its snapshot is.
func inSync(s topology.GroupStatus) bool {
	known := 0
	for _, w := range s.Workspaces {
		if of := s.Group.Workspace(w.Workspace); of != nil && !of.Replicates(s.Group.Active) {
			continue
		}
		whole := w.Snapshot != nil && slices.Contains(w.Snapshot.Complete, s.Group.Other(s.Group.Active))
		if len(w.Databases) == 0 && !whole {
			return false
		}
		if slices.ContainsFunc(w.Databases, func(d topology.DatabaseStatus) bool { return d.State != topology.Active }) {
			return false
		}
		known++
	}
	return known > 0
}

// statusView shows a status that changes.
type statusView interface {
	show(topology.GroupStatus)
	say(string) // that something did not answer
	close()
}

func (a *app) statusView(ctx context.Context) statusView {
	switch {
	case a.json():
		return jsonView{a, json.NewEncoder(a.Out)}
	case isTerminal(a.Out) && !a.flags.quiet:
		return newBarView(ctx, a)
	}
	return &lineView{app: a, last: map[string]string{}}
}

// jsonView prints one line of JSON for each look.
type jsonView struct {
	app *app
	to  *json.Encoder
}

func (v jsonView) show(s topology.GroupStatus) { _ = v.to.Encode(s) } // a closed pipe ends the process by signal
func (v jsonView) say(problem string)          { fmt.Fprintln(v.app.Err, problem) }
func (v jsonView) close()                      {}

// lineView prints a line when something has changed: for pipes and logs.
type lineView struct {
	app  *app
	last map[string]string // by workspace/database: what was said last, without what changes all the time
	said string
}

func (v *lineView) show(s topology.GroupStatus) {
	for _, w := range s.Workspaces {
		for _, d := range w.Databases {
			name, key := w.Workspace+"/"+d.Database, render.DatabaseKey(d)
			if v.last[name] != key && !v.app.flags.quiet {
				fmt.Fprintf(v.app.Out, "%s  %s\n", v.app.now().UTC().Format(time.TimeOnly), render.DatabaseLine(d))
			}
			v.last[name] = key
		}
	}
	v.said = ""
}

func (v *lineView) say(problem string) {
	if v.said != problem {
		fmt.Fprintln(v.app.Err, problem)
	}
	v.said = problem
}

func (v *lineView) close() {}
