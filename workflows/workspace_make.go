package workflows

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// managed reports whether SmartDR is to make the server.
func (w WorkspaceInput) managed() bool {
	return w.Kind == topology.Managed || w.Kind == "" && w.Source == (topology.Source{})
}

func (w WorkspaceInput) check() error {
	if err := topology.CheckName("workspace", w.Name); err != nil {
		return refuseInvalid(err)
	}
	if w.Size != "" {
		if _, err := topology.ParseSize(w.Size); err != nil {
			return refuseInvalid(err)
		}
	}
	switch {
	case w.Kind != "" && w.Kind != topology.Adopted && w.Kind != topology.Managed:
		return invalid("leave kind out, or choose managed or adopted", "workspace %q is to be %q, which is no kind of workspace", w.Name, w.Kind)
	case w.managed():
		return w.checkManaged()
	}
	return w.checkAdopted()
}

func (w WorkspaceInput) checkAdopted() error {
	switch {
	case strings.TrimSpace(w.Source.ConnString) == "":
		return invalid("give source.connString, or leave out kind and source to have a server made", "workspace %q has no connection string", w.Name)
	case w.Postgres != 0 || w.Host != "" || len(w.Settings) > 0 || len(w.HBA) > 0 || len(w.Ident) > 0 || w.Init != (InitInput{}):
		return invalid("leave out postgres, host, settings, hba, ident and init: they are of servers that SmartDR makes",
			"workspace %q is adopted: its server is there already, and SmartDR changes nothing of it", w.Name)
	}
	return nil
}

func (w WorkspaceInput) checkManaged() error {
	if w.Source != (topology.Source{}) {
		return invalid("leave out source to have a server made, or kind to adopt one", "workspace %q is to be made and has a connection string", w.Name)
	}
	if err := topology.CheckSettings(w.Settings); err != nil {
		return refuseInvalid(err)
	}
	if mb := w.Init.SegmentSizeMB; mb != 0 && (mb < 1 || mb > 1024 || mb&(mb-1) != 0) {
		return invalid("choose a power of two from 1 to 1024", "workspace %q: WAL segments cannot be of %d MB", w.Name, mb)
	}
	if w.Postgres != 0 && (w.Postgres < 15 || w.Postgres > 99) {
		return invalid("choose 15 or later", "workspace %q: PostgreSQL %d cannot be run", w.Name, w.Postgres)
	}
	return nil
}

// size is the one asked for; of a managed workspace the default where nothing was said.
func (w WorkspaceInput) size() (topology.Size, error) {
	name := w.Size
	if name == "" && w.managed() {
		name = topology.DefaultSize
	}
	if name == "" {
		return topology.Size{}, nil
	}
	size, err := topology.ParseSize(name)
	return size, refuseInvalid(err)
}

// workspace is what is recorded first: of a managed one, that it is being made.
func (w WorkspaceInput) workspace(region string) (topology.Workspace, error) {
	size, err := w.size()
	made := topology.Workspace{Name: w.Name, Size: size, Sites: map[string]topology.Site{}}
	if !w.managed() {
		made.Sites[region] = topology.Site{Kind: topology.Adopted, Source: w.Source}
		return made, err
	}
	made.State = topology.WorkspacePending
	made.Settings, made.HBA, made.Ident = w.Settings, w.HBA, w.Ident
	return made, err
}

// server is what has to be made for a managed workspace.
func (w WorkspaceInput) server(g topology.Group) (activities.NewServer, error) {
	size, err := w.size()
	return activities.NewServer{
		Group: g.Name, Workspace: w.Name, Epoch: g.Epoch, Region: g.Active, Host: w.Host, Postgres: w.Postgres, Size: size,
		Settings: w.Settings, HBA: w.HBA, Ident: w.Ident, Firewall: g.Firewall,
		Init: activities.InitOptions{
			NoChecksums: w.Init.NoChecksums, SegmentSize: wal.SegmentSize(w.Init.SegmentSizeMB) << 20,
			Locale: w.Init.Locale, ICULocale: w.Init.ICULocale,
		},
	}, err
}

// planServers chooses a host for each server that is to be made and has the host look at the choices, so that what
// cannot be is refused before anything is recorded.
func planServers(ctx workflow.Context, group *topology.Group, workspaces []WorkspaceInput) ([]activities.NewServer, error) {
	var servers []activities.NewServer
	for _, w := range workspaces {
		if !w.managed() {
			continue
		}
		s, err := w.server(*group)
		if err != nil {
			return nil, err
		}
		servers = append(servers, s)
	}
	if len(servers) == 0 {
		return nil, nil
	}
	var placed activities.PlaceServersResult
	place := asked(ctx, RegionQueue(group.Active), "choose hosts")
	err := workflow.ExecuteActivity(place, target.PlaceServers, activities.PlaceServersInput{Region: group.Active, Servers: servers}).Get(ctx, &placed)
	if err != nil {
		return nil, err
	}
	for i := range servers {
		servers[i].Host = placed.Hosts[i]
	}
	return servers, checkServers(ctx, servers)
}

// checkServers has each host look at the choices for its servers, side by side.
func checkServers(ctx workflow.Context, servers []activities.NewServer) error {
	failed := make([]error, len(servers))
	open := workflow.NewWaitGroup(ctx)
	for i, s := range servers {
		open.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer open.Done()
			check := trying(ctx, siteQueue(s.Region, s.Host), "try the choices for "+s.Workspace)
			failed[i] = refuseOn(s.Region, s.Host, workflow.ExecuteActivity(check, target.CheckServer, s).Get(ctx, nil))
		})
	}
	open.Wait(ctx)
	return joined(failed)
}

// placeOn records on which hosts servers are being made, for whoever has to clean up what failed.
func placeOn(group *topology.Group, servers []activities.NewServer) {
	for _, s := range servers {
		if w := group.Workspace(s.Workspace); w != nil {
			w.Sites[s.Region] = topology.Site{Kind: topology.Managed, Host: s.Host}
		}
	}
}

// makeServers makes the servers side by side and records each as soon as it serves. One that fails stays recorded as
// pending, with the reason; the others are not held up by it.
func makeServers(ctx workflow.Context, group topology.Group, servers []activities.NewServer) (topology.Group, []activities.MakeServerResult, error) {
	made := make([]activities.MakeServerResult, len(servers))
	failed := make([]error, len(servers))
	open := workflow.NewWaitGroup(ctx)
	for i, s := range servers {
		open.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer open.Done()
			made[i], failed[i] = makeServer(ctx, s)
		})
	}
	open.Wait(ctx)
	if err := unmade(group, servers, failed); err != nil {
		return group, made, err
	}
	if len(servers) > 0 {
		err := workflow.ExecuteActivity(asked(ctx, RegionQueue(group.Active), "read the group"), control.ReadGroup, activities.ReadGroupInput{Group: group.Name}).Get(ctx, &group)
		return group, made, err
	}
	return group, made, nil
}

func makeServer(ctx workflow.Context, s activities.NewServer) (made activities.MakeServerResult, err error) {
	workflow.SetCurrentDetails(ctx, "Making the server of **"+s.Workspace+"** on host "+s.Host)
	err = workflow.ExecuteActivity(managing(ctx, siteQueue(s.Region, s.Host), "make "+s.Workspace), target.MakeServer, s).Get(ctx, &made)
	if err != nil {
		return made, noteFailure(ctx, s, refuseOn(s.Region, s.Host, err))
	}
	in := activities.RecordServerInput{Group: s.Group, Workspace: s.Workspace, Region: s.Region, Epoch: s.Epoch, Site: made.Site}
	err = workflow.ExecuteActivity(asked(ctx, RegionQueue(s.Region), "record the server of "+s.Workspace), control.RecordServer, in).Get(ctx, nil)
	return made, err
}

// noteFailure lets the catalog say why a workspace is not there yet. The failure itself is what counts.
func noteFailure(ctx workflow.Context, s activities.NewServer, err error) error {
	in := activities.RecordStateInput{Group: s.Group, Workspace: s.Workspace, To: topology.WorkspacePending, Reason: FailureOf(err).Message,
		From: []topology.WorkspaceState{topology.WorkspacePending}}
	noted := workflow.ExecuteActivity(asked(ctx, RegionQueue(s.Region), "record why "+s.Workspace+" failed"), control.RecordState, in).Get(ctx, nil)
	if noted != nil {
		workflow.GetLogger(ctx).Warn("the catalog does not say why a workspace was not made", "workspace", s.Workspace, "error", noted)
	}
	return err
}

// unmade says which servers could not be made, and what to do.
func unmade(group topology.Group, servers []activities.NewServer, failed []error) error {
	var lines, hints, names []string
	for i, err := range failed {
		if err == nil {
			continue
		}
		f := FailureOf(err)
		lines, names = append(lines, f.Message), append(names, servers[i].Workspace)
		if f.Hint != "" {
			hints = append(hints, f.Hint)
		}
	}
	if len(lines) == 0 {
		return nil
	}
	hint := fmt.Sprintf("Then create %s again, by the same name: smartdr workspace create --group %s.", strings.Join(names, " and "), group.Name)
	return temporal.NewNonRetryableApplicationError(
		fmt.Sprintf("group %s is recorded, and the server of %s is not made: %s", group.Name, strings.Join(names, ", "), strings.Join(lines, "; ")),
		string(fault.Transient), nil, strings.TrimSpace(strings.Join(hints, " ")+" "+hint))
}

// closedWarning says that nobody can reach a server over the network, which is what nothing said means.
func closedWarning(group topology.Group, made []activities.MakeServerResult) []string {
	if len(made) == 0 || group.Firewall.AllowAll || len(group.Firewall.Ranges) > 0 {
		return nil
	}
	return []string{"no address may reach the servers that were made, unless a workspace's own access rules let it: the firewall has no ranges. " +
		"smartdr group change --group " + group.Name + " --firewall CIDR adds one"}
}
