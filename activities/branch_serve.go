package activities

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

// branchSteps put right what nobody should see otherwise than it was, and let the users in. What drives or feeds databases from outside
// stays off: a branch must not be mistaken for the server that it comes from.
func (t *Target) branchSteps(ctx context.Context, server *postgres.Server, in RestoreInput, m metadata.Metadata, place metadata.Place) []step {
	letIn := func() ([]string, error) { return t.letIn(ctx, server, in, m, place) }
	if in.ReadOnly {
		return []step{func() ([]string, error) { return omittedNotes(in.Plan), nil }, letIn}
	}
	return []step{
		func() ([]string, error) { return t.dropLeftOut(ctx, server, in) },
		func() ([]string, error) { return nil, releaseBranch(server) },
		func() ([]string, error) { return inert(ctx, server) },
		func() ([]string, error) { return reachNotes(ctx, server) },
		func() ([]string, error) { return metadata.CollationNotes(ctx, server.Open) },
		func() ([]string, error) { return nil, markFresh(ctx, server) },
		letIn,
	}
}

func omittedNotes(plan WorkspacePlan) []string {
	var names []string
	for _, d := range plan.Omitted {
		names = append(names, d.Name)
	}
	if len(names) == 0 {
		return nil
	}
	return []string{"databases that are left out of replication are listed and let nobody in: " + strings.Join(names, ", ")}
}

// branchKeeps are the settings that a branch's server is started with for good: it archives nowhere, follows nobody, and runs no
// subscription, whatever its files say (2.6, 3.4).
var branchKeeps = []string{"archive_mode", "archive_command", "archive_library", "primary_conninfo", "primary_slot_name", "restore_command", "synchronous_standby_names", workersSetting}

// releaseBranch takes away what the server was started with for its recovery alone.
func releaseBranch(s *postgres.Server) error {
	kept := map[string]string{}
	for _, name := range branchKeeps {
		if v, is := s.Settings[name]; is {
			kept[name] = v
		}
	}
	s.Settings = kept
	return s.Save()
}

// inert cuts the branch's subscriptions from their publishers, which go on with the server that they belong to.
func inert(ctx context.Context, s *postgres.Server) ([]string, error) {
	var done struct {
		Names []string `json:"names"`
	}
	if found, err := readState(s.InstanceDir(), pipelinesFile, &done); err != nil || found {
		return inertNotes(done.Names), err
	}
	names, err := metadata.MakeInert(ctx, s.Open)
	if err != nil {
		return nil, err
	}
	done.Names = names
	return inertNotes(names), writeState(s.InstanceDir(), pipelinesFile, done)
}

func inertNotes(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	return []string{"subscriptions do not run in a branch, and do not know their slots there: " + strings.Join(names, ", ")}
}

// reachNotes names what a statement in the branch can reach of the world: foreign servers, with those who have a mapping to them.
func reachNotes(ctx context.Context, s *postgres.Server) ([]string, error) {
	var notes []string
	err := eachDatabase(ctx, s, func(conn *pgx.Conn, database string) error {
		rows, _ := conn.Query(ctx, `select srvname::text, coalesce(string_agg(usename::text, ', ' order by usename), '') from pg_foreign_server s
			left join pg_user_mappings m using (srvname) group by srvname order by srvname`) // its error comes with the rows
		var server, users string
		_, err := pgx.ForEachRow(rows, []any{&server, &users}, func() error {
			notes = append(notes, fmt.Sprintf("foreign server %s of database %s leads to the same place as on the server that the branch is of, with the same passwords (mapped: %s): what is written through it is written there", server, database, orNobody(users)))
			return nil
		})
		return dsn.ConnectError("list foreign servers", err)
	})
	return notes, err
}

func orNobody(users string) string {
	if users == "" {
		return "nobody"
	}
	return users
}

// eachDatabase does something in every database that lets us in.
func eachDatabase(ctx context.Context, s *postgres.Server, do func(conn *pgx.Conn, database string) error) error {
	var names []string
	err := ask(ctx, s, func(conn *pgx.Conn) (err error) {
		rows, _ := conn.Query(ctx, "select datname::text from pg_database where datallowconn and datconnlimit <> -2 order by 1") // likewise
		names, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		conn, err := s.Open(ctx, name)
		if err != nil {
			return err
		}
		err = do(conn, name)
		_ = conn.Close(context.WithoutCancel(ctx)) // only read from
		if err != nil {
			return err
		}
	}
	return nil
}

// placedBranches returns the servers of branches that have their files here.
func (t *Target) placedBranches() ([]topology.Placed, error) {
	owners, err := t.branchOwners()
	all := make([]topology.Placed, 0, len(owners))
	for _, o := range owners {
		all = append(all, topology.Placed{Group: o.Group, Workspace: o.Workspace, Branch: o.Branch, Epoch: o.Epoch, Size: o.size()})
	}
	return all, err
}

// branchOwners returns what the folders of branches on this host say of themselves.
func (t *Target) branchOwners() (all []owner, err error) {
	files, err := branchFiles(t.DataDir)
	for _, f := range files {
		var o owner
		found, err := readState(filepath.Dir(f), ownerFile, &o)
		if err != nil {
			return nil, err
		}
		if found {
			all = append(all, o)
		}
	}
	return all, err
}

// lookAtBranches makes the servers of branches follow the catalog, as look does those of workspaces.
func (k *keeper) lookAtBranches(ctx context.Context, all bool) error {
	files, err := branchFiles(k.DataDir)
	errs := []error{err}
	for _, f := range files {
		dir := filepath.Dir(f)
		var o owner
		found, err := readState(dir, ownerFile, &o)
		if err == nil && found {
			err = describe(k.keepBranch(ctx, dir, o, all), "branch %s of %s", o.Branch, o.Group)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// keepBranch lets an attached branch's server run, and takes away what the branch is not attached as any more.
func (k *keeper) keepBranch(ctx context.Context, dir string, o owner, all bool) error {
	s, err := postgres.Load(dir)
	made := !fault.Is(err, fault.Missing)
	if err != nil && made {
		return err
	}
	running := false
	if made {
		_, running = s.Running(ctx)
	}
	if running && !all {
		return nil
	}
	l := k.load(ctx, o.Group)
	if l.err != nil {
		return l.err
	}
	switch a := k.attachmentHere(&l.Group, o); {
	case a == nil:
		return k.leaveBranch(ctx, l.Loaded, dir, o)
	case a.State != topology.AttachmentServes || !made:
		return nil // it is being brought up, or taken down
	case !running:
		return k.start(ctx, s, dir, o)
	}
	return k.checkBranch(ctx, l.Group, s, dir, o)
}

// attachmentHere returns the attachment that a folder of this host is of, or nil when the document does not name it.
func (t *Target) attachmentHere(g *topology.Group, o owner) *topology.Attachment {
	b := g.Branch(o.Branch)
	if b == nil || b.Attached == nil || b.Attached.ID != o.Attachment || b.Attached.Host != t.Host {
		return nil
	}
	return b.Attached
}
