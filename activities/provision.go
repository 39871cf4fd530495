package activities

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
)

// ProvisionTopology gives the workspace a folder, a port and an endpoint on this host. Folders of failovers that
// failed before they came to serve are removed first, since their disk space is needed.
func (t *Target) ProvisionTopology(ctx context.Context, in RestoreInput) (Place, error) {
	p := beat(ctx)
	defer p.end()
	place, err := t.provision(ctx, in)
	return place, judge(ctx, err)
}

func (t *Target) provision(ctx context.Context, in RestoreInput) (Place, error) {
	dir := t.dir(in)
	if in.Standby != "" {
		if err := t.checkStandby(ctx, dir, in); err != nil {
			return Place{}, err
		}
	}
	if err := own(dir, in); err != nil {
		return Place{}, err
	}
	t.sweep(ctx, in)
	t.makeRoom(ctx, in.Group)
	var o owner
	if err := t.choosePort(dir, &o); err != nil {
		return Place{}, err
	}
	t.tell(ctx)
	place, err := t.place(dir, o.Port, in.Plan)
	if err == nil && in.Standby != "" {
		err = t.recordStandby(ctx, in, place)
	}
	return place, err
}

// own makes a folder the operation's, by the plan that it has now.
func own(dir string, in RestoreInput) error {
	var o owner
	found, err := readState(dir, ownerFile, &o)
	switch {
	case err != nil:
		return err
	case found && o.Standby != "":
		o.Operation = in.Operation // whose files it has was settled when it was made
		return writeState(dir, ownerFile, o)
	case found && o.Operation != in.Operation:
		return fault.Newf(fault.Diverged, "provision", "%s belongs to operation %s", dir, o.Operation)
	case found && o.Plan.Lineage == in.Plan.Lineage:
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.New(diskKind(err), "make instance folder", err)
	}
	o.Group, o.Workspace, o.Epoch, o.Operation, o.Plan, o.Standby = in.Group, in.Plan.Workspace, in.Epoch, in.Operation, in.Plan, in.Standby
	return writeState(dir, ownerFile, o)
}

// checkOwned refuses to go on where the folder is not the one that ProvisionTopology has made: the host has lost its disk, or
// its worker another data folder.
func checkOwned(in RestoreInput) error {
	var o owner
	found, err := readState(in.Place.Instance, ownerFile, &o)
	switch {
	case err != nil || found && o.Operation == in.Operation:
		return err
	case in.Branch != "":
		return fault.Newf(fault.Missing, "restore", "%s is not the folder of attachment %s of branch %s", in.Place.Instance, in.Attachment, in.Branch).
			WithHint("The host's worker moved to another data folder, or lost what was in it: attach the branch again.")
	case found && in.Operation == "":
		return fault.Newf(fault.Fenced, "restore", "operation %s has taken the standby %s", o.Operation, in.Standby)
	}
	return fault.Newf(fault.Missing, "restore", "%s is not the folder of operation %s any more", in.Place.Instance, in.Operation).
		WithHint("the host's worker moved to another data folder, or lost what was in it: resume the failover")
}

// choosePort gives an instance a port if it has none, and writes that down before another one can choose the same.
func (t *Target) choosePort(dir string, o *owner) error {
	t.ports.Lock()
	defer t.ports.Unlock()
	if _, err := readState(dir, ownerFile, o); err != nil || o.Port != 0 {
		return err
	}
	workspace := o.Workspace
	if o.Branch != "" {
		workspace = "" // the place that is kept for the workspace is not for its branches
	}
	wanted, kept, err := t.keptForOthers(o.Group, workspace)
	if err != nil {
		return err
	}
	if o.Port, err = t.freePort(*o, wanted, kept); err != nil {
		return err
	}
	return writeState(dir, ownerFile, *o)
}

// place describes the server to be, and gives its folder to the account that it will run under.
func (t *Target) place(dir string, port int, plan WorkspacePlan) (Place, error) {
	s, err := t.server(dir, port, plan.ServerVersion)
	if err != nil {
		return Place{}, err
	}
	if s.Account != nil {
		if err := os.Chown(dir, int(s.Account.UID), int(s.Account.GID)); err != nil {
			return Place{}, fault.New(fault.Invalid, "give instance folder to "+s.Account.Name, err)
		}
	}
	return Place{Instance: dir, DataDir: s.DataDir, Port: port, Endpoint: endpointOf(t.AdvertiseHost, port)}, nil
}

// server returns the description of an instance's server, before metadata has anything to say.
func (t *Target) server(dir string, port, version int) (*postgres.Server, error) {
	bin, err := postgres.Find(version/10000, t.BinDirs)
	if err != nil {
		return nil, err
	}
	account, err := postgres.DefaultAccount()
	if err != nil {
		return nil, err
	}
	return &postgres.Server{
		Bin: bin, DataDir: filepath.Join(dir, "data"), SocketDir: socketDir(dir, port), LogFile: filepath.Join(dir, "server.log"),
		Listen: t.Listen, Port: port, Account: account,
	}, nil
}

// socketDir is the instance's folder for its socket, or a short path where that is too long for one (unix(7)).
func socketDir(dir string, port int) string {
	if inside := filepath.Join(dir, "run"); len(inside) <= 90 {
		return inside
	}
	return filepath.Join(os.TempDir(), "smartdr-"+strconv.Itoa(port))
}

// freePort returns a port of the range that no instance has and nothing listens on: wanted if it can be, 0 for any. One that is
// kept for another workspace is the last choice.
func (t *Target) freePort(of owner, wanted int, kept map[int]bool) (int, error) {
	taken := map[int]bool{}
	files, err := ownerFiles(t.DataDir, "*", "*")
	if err != nil {
		return 0, err
	}
	branches, err := branchFiles(t.DataDir)
	if err != nil {
		return 0, err
	}
	for _, f := range append(files, branches...) {
		var o owner
		if _, err := readState(filepath.Dir(f), ownerFile, &o); err != nil {
			return 0, err
		}
		taken[o.Port] = taken[o.Port] || !o.leavesPort(of)
	}
	if t.FirstPort <= wanted && wanted <= t.LastPort && !taken[wanted] && free(wanted) {
		return wanted, nil
	}
	for _, last := range []bool{false, true} {
		for port := t.FirstPort; port <= t.LastPort; port++ {
			if !taken[port] && kept[port] == last && free(port) {
				return port, nil
			}
		}
	}
	return 0, fault.Newf(fault.Invalid, "choose port", "no port from %d to %d is free", t.FirstPort, t.LastPort).
		WithHint("widen the worker's range of ports")
}

// leavesPort reports whether a folder's port is there for another: its server will not run again, or the other is what the same workspace comes back
// as, for whose sake nobody starts this one.
func (o owner) leavesPort(to owner) bool {
	return o.Retired || o.Branch == "" && to.Branch == "" && o.Group == to.Group && o.Workspace == to.Workspace
}

func free(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
