package activities

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

// ownServer is the server of a managed workspace on this host.
type ownServer struct {
	group     topology.Group
	workspace topology.Workspace
	dir       string
	owner     owner
	server    *postgres.Server
}

// ours finds the server that the catalog says runs on this host, in the folder that says it is the workspace's.
func (t *Target) ours(ctx context.Context, in ServerInput) (ownServer, error) {
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return ownServer{}, err
	}
	w := loaded.Group.Workspace(in.Workspace)
	if w == nil {
		return ownServer{}, noWorkspace(loaded.Group, in.Workspace)
	}
	site := w.Sites[in.Region]
	if site.Kind != topology.Managed || site.Instance == "" || site.Host != "" && site.Host != t.Host {
		return ownServer{}, fault.Newf(fault.Invalid, "find server", "host %s of region %s does not run workspace %s", t.Host, t.Region, w.Name)
	}
	m := ownServer{group: loaded.Group, workspace: *w, dir: site.Instance}
	found, err := readState(m.dir, ownerFile, &m.owner)
	if err != nil {
		return m, err
	}
	if !found || m.owner.Group != in.Group || m.owner.Workspace != in.Workspace {
		return m, fault.Newf(fault.Missing, "find server", "%s does not hold the server of workspace %s", m.dir, w.Name).
			WithHint("The worker of host %s runs with another data folder than before, or on another machine: start it with the former one.", t.Host)
	}
	m.server, err = postgres.Load(m.dir)
	return m, err
}

// ApplyServer brings a server in line with what the catalog says of it: size, settings, access rules, user name maps. It
// restarts the server only where that was asked for and something waits for it.
func (t *Target) ApplyServer(ctx context.Context, in ApplyServerInput) (ApplyServerResult, error) {
	p := beat(ctx)
	defer p.end()
	m, err := t.ours(ctx, in.ServerInput)
	var notes []string
	if err == nil {
		if err = t.Catalog.CheckEpoch(ctx, in.Group, m.owner.Epoch); err == nil {
			err = m.server.Start(ctx) // one that runs is only waited for
		}
	}
	if err == nil {
		notes, err = t.apply(ctx, m, in.Reset, in.Restart)
	}
	return ApplyServerResult{Notes: notes}, judge(ctx, describe(err, "workspace %s", in.Workspace))
}

func (t *Target) apply(ctx context.Context, m ownServer, reset []string, mayRestart bool) (notes []string, err error) {
	former, err := readConfig(m.server)
	if err != nil {
		return nil, err
	}
	freed, err := applySettings(ctx, m.server, wanted(m.workspace.Size, m.workspace.Settings), reset)
	if err != nil {
		return nil, err
	}
	if notes, err = t.applyRules(ctx, m); err != nil {
		return nil, err
	}
	waiting, err := reload(ctx, m.server)
	if err != nil {
		return nil, err
	}
	if err := t.resize(ctx, m); err != nil {
		return nil, err
	}
	waiting = slices.Compact(slices.Sorted(slices.Values(slices.Concat(waiting, freed))))
	switch {
	case len(waiting) == 0:
		return notes, nil
	case !mayRestart:
		return append(notes, waitingNote(waiting)), nil
	}
	return append(notes, "restarted for "+strings.Join(waiting, ", ")), former.restart(ctx, m.server)
}

// resize lets the host count with the size that the server has now.
func (t *Target) resize(ctx context.Context, m ownServer) error {
	if m.owner.Size == m.workspace.Size {
		return nil
	}
	m.owner.Size = m.workspace.Size
	if err := writeState(m.dir, ownerFile, m.owner); err != nil {
		return err
	}
	t.tell(ctx)
	return nil
}

// formerConfig is what a server ran with before a change: its own settings file, and what it was started with.
type formerConfig struct {
	path     string
	content  []byte
	settings map[string]string
}

func readConfig(s *postgres.Server) (formerConfig, error) {
	path := filepath.Join(s.DataDir, "postgresql.auto.conf")
	b, err := os.ReadFile(path)
	if err != nil {
		return formerConfig{}, fault.New(fault.Transient, "read settings of server", err)
	}
	f := formerConfig{path: path, content: b, settings: map[string]string{}}
	for name, value := range s.Settings {
		f.settings[name] = value
	}
	return f, nil
}

// restart restarts the server. One that refuses its new settings, which it did not in the trial, gets the former ones
// back and serves.
func (f formerConfig) restart(ctx context.Context, s *postgres.Server) error {
	err := restart(ctx, s)
	if !fault.Is(err, fault.Invalid) {
		return err
	}
	s.Settings = f.settings
	back := s.Save()
	if back == nil {
		back = replaceFile(f.path, f.content)
	}
	if back == nil {
		back = s.Own(f.path)
	}
	if back == nil {
		back = s.Start(ctx)
	}
	if back != nil {
		return fault.Newf(fault.Invalid, "restart server", "%w; and it does not start with its former settings either: %w", err, back)
	}
	return fault.Newf(fault.Invalid, "restart server", "%w", err).WithHint("It serves again with its former settings: choose others.")
}
