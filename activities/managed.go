package activities

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

// A server that was made, and not restored, has an instance folder like the others, with these files of its own:
//
//	made.json        the settings that its size and its owner asked for, as applied last
//	admin.password   the password of role admin, and nothing else
//	init-*/          a data directory that initdb is not done with
const (
	madeFile     = "made.json"
	passwordFile = "admin.password"
	initPrefix   = "init-"
)

// madeBy stands for an operation in owner.json: nobody restored this server.
const madeBy = "make"

// controlRole is the superuser that a host controls the servers with that it makes, through the socket.
const controlRole = "postgres"

// made is the content of made.json.
type made struct {
	Settings map[string]string `json:"settings"`
}

// MakeServer makes the server of a managed workspace and starts it. It goes on from whatever an earlier attempt left.
func (t *Target) MakeServer(ctx context.Context, in NewServer) (MakeServerResult, error) {
	p := beat(ctx)
	defer p.end()
	result, err := t.makeServer(ctx, in)
	return result, judge(ctx, describe(err, "workspace %s", in.Workspace))
}

func (t *Target) makeServer(ctx context.Context, in NewServer) (MakeServerResult, error) {
	if err := t.Catalog.CheckEpoch(ctx, in.Group, in.Epoch); err != nil {
		return MakeServerResult{}, err
	}
	dir := instanceDir(t.DataDir, in.Group, in.Workspace, in.Epoch)
	server, err := t.founded(ctx, dir, in)
	if err != nil {
		return MakeServerResult{}, err
	}
	if err := server.Start(ctx); err != nil {
		return MakeServerResult{}, err
	}
	if err := t.furnish(ctx, server, in); err != nil {
		return MakeServerResult{}, err
	}
	t.tell(ctx)
	site := topology.Site{
		Kind: topology.Managed, Source: server.Source("postgres"), Endpoint: endpointOf(t.AdvertiseHost, server.Port),
		Host: t.Host, Instance: dir,
	}
	return MakeServerResult{Site: site, Version: server.Bin.Version, PasswordFile: filepath.Join(dir, passwordFile)}, nil
}

// founded returns the workspace's server with a data directory that initdb is done with; the description is the sign of it.
func (t *Target) founded(ctx context.Context, dir string, in NewServer) (*postgres.Server, error) {
	o, err := t.ownNew(dir, in)
	if err != nil {
		return nil, err
	}
	s, err := postgres.Load(dir)
	if !fault.Is(err, fault.Missing) {
		return s, err
	}
	bin, err := findBinaries(in.Postgres, t.BinDirs)
	if err != nil {
		return nil, err
	}
	if s, err = t.server(dir, o.Port, bin.Version); err != nil {
		return nil, err
	}
	s.Superuser = controlRole
	if err := s.Own(dir); err != nil {
		return nil, fault.New(fault.Invalid, "give instance folder to the server's account", err)
	}
	if err := initialize(ctx, s, in.Init); err != nil {
		return nil, err
	}
	return s, s.Save()
}

// notOurs reports whether a file is there that no attempt to say whose the folder is can have left.
func notOurs(e os.DirEntry) bool { return !strings.HasPrefix(e.Name(), "."+ownerFile+"-") }

// ownNew makes sure that the folder is this workspace's, made for this epoch, and that it has a port.
func (t *Target) ownNew(dir string, in NewServer) (owner, error) {
	var o owner
	found, err := readState(dir, ownerFile, &o)
	if err != nil {
		return o, err
	}
	if !found {
		if entries, err := os.ReadDir(dir); err == nil && slices.ContainsFunc(entries, notOurs) {
			return o, fault.Newf(fault.Invalid, "make server", "%s holds files and does not say whose they are", dir).WithHint("Look at them and move them away.")
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return o, fault.New(diskKind(err), "make instance folder", err)
		}
		o = owner{Group: in.Group, Workspace: in.Workspace, Epoch: in.Epoch, Operation: madeBy, Size: in.Size, Published: true}
		if err := writeState(dir, ownerFile, o); err != nil {
			return o, err
		}
	}
	if o.Operation != madeBy || o.Group != in.Group || o.Workspace != in.Workspace || o.Epoch != in.Epoch {
		return o, fault.Newf(fault.Diverged, "make server", "%s belongs to workspace %s of %s, epoch %d", dir, o.Workspace, o.Group, o.Epoch)
	}
	return o, t.choosePort(dir, &o)
}

func findBinaries(major int, dirs []string) (postgres.Binaries, error) {
	if major == 0 {
		return postgres.FindAny(dirs)
	}
	return postgres.Find(major, dirs)
}

// initialize runs initdb in a folder of its own, which becomes the data directory when it is done: an initdb that outlived
// the worker that started it then writes where nobody looks.
func initialize(ctx context.Context, s *postgres.Server, o InitOptions) error {
	dir := s.InstanceDir()
	stale, err := filepath.Glob(filepath.Join(dir, initPrefix+"*"))
	for _, old := range stale {
		if err == nil {
			err = os.RemoveAll(old)
		}
	}
	if err == nil {
		err = os.RemoveAll(s.DataDir) // no description was written: nobody ever started a server in it
	}
	if err != nil {
		return fault.New(fault.Transient, "make a cluster", err)
	}
	fresh := *s
	if fresh.DataDir, err = os.MkdirTemp(dir, initPrefix); err != nil {
		return fault.New(diskKind(err), "make a cluster", err)
	}
	options := postgres.InitOptions{Checksums: !o.NoChecksums, SegmentSize: o.SegmentSize, Locale: o.Locale, ICULocale: o.ICULocale}
	if err := fresh.Init(ctx, options); err != nil {
		return err
	}
	if err := os.Rename(fresh.DataDir, s.DataDir); err != nil {
		return fault.New(fault.Transient, "make a cluster", err)
	}
	return nil
}

// furnish gives a new server what its owner asked for, and lets clients in when all of it is there.
func (t *Target) furnish(ctx context.Context, s *postgres.Server, in NewServer) error {
	if err := s.WriteHBA(""); err != nil {
		return err
	}
	if err := ensureAdmin(ctx, s); err != nil {
		return err
	}
	if _, err := applySettings(ctx, s, wanted(in.Size, in.Settings), nil); err != nil {
		return err
	}
	waiting, err := reload(ctx, s)
	if err != nil {
		return err
	}
	if len(waiting) > 0 {
		if err := restart(ctx, s); err != nil {
			return err
		}
	}
	hba, ident, err := choices{hba: in.HBA, ident: in.Ident, firewall: in.Firewall}.rules()
	if err != nil {
		return err
	}
	if err := applyAccess(ctx, s, metadata.Access{HBA: hba, Ident: ident}); err != nil {
		return err
	}
	_, err = reload(ctx, s)
	return err
}

// wanted are a workspace's settings: those that it chose, and those of its size.
func wanted(size topology.Size, chosen map[string]string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, size.Tuning())
	maps.Copy(all, chosen)
	return all
}
