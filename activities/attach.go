package activities

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/restore"
)

// attachInput puts together what recovery needs: the server with the settings of the primary that it cannot do
// without, and the point to reach. Until RestoreMetadata nobody but this host gets in.
func (t *Target) attachInput(ctx context.Context, in RestoreInput, fetched restore.FetchedWAL, m metadata.Metadata) (restore.AttachInput, []string, error) {
	server, err := t.server(in.Place.Instance, in.Place.Port, in.Plan.ServerVersion)
	if err != nil {
		return restore.AttachInput{}, nil, err
	}
	server.Superuser = superuser(m)
	place, err := t.metadataPlace(ctx, server, m)
	if err != nil {
		return restore.AttachInput{}, nil, err
	}
	place.Minimums = fetched.MaxParameters
	settings, notes := metadata.Overrides(m, place)
	if err := writeConfig(server, m, place); err != nil {
		return restore.AttachInput{}, nil, err
	}
	if err := server.WriteHBA(""); err != nil {
		return restore.AttachInput{}, nil, err
	}
	input := restore.AttachInput{
		Server: server, Superuser: server.Superuser,
		Plan:     restore.Plan{Timeline: fetched.End.Timeline, RecordEnd: fetched.RecordEnd},
		Minimums: fetched.MaxParameters, Overrides: settings, SlotName: slotName(in.Group, in.Plan.Workspace), Log: t.Log,
	}
	for _, d := range in.Plan.Omitted {
		input.OmittedDatabases = append(input.OmittedDatabases, d.OID)
	}
	return input, notes, nil
}

func (t *Target) metadataPlace(ctx context.Context, s *postgres.Server, m metadata.Metadata) (metadata.Place, error) {
	host, err := metadata.Inspect(ctx, s.Bin, t.DataDir)
	if err != nil {
		return metadata.Place{}, err
	}
	place := metadata.Place{
		DataDir: s.DataDir, SocketDir: s.SocketDir, Listen: s.Listen, Port: s.Port,
		HBAFile: s.HBAFile(), IdentFile: s.IdentFile(), Admin: s.Superuser, Host: host, Readable: readable(s, m),
	}
	if _, err := os.Stat(insideConfig(s)); err == nil && !ours(insideConfig(s)) && metadata.NeedsConfigFile(m) {
		place.ConfigFile = filepath.Join(s.InstanceDir(), "postgresql.conf")
	}
	return place, nil
}

func insideConfig(s *postgres.Server) string { return filepath.Join(s.DataDir, "postgresql.conf") }

// writeConfig writes the configuration file where the copy has none, because the primary's lay elsewhere (as Debian's
// does), or where the copy's own refers to files that did not come along. One that an earlier attempt wrote stays:
// recovery may have turned settings of it into comments.
func writeConfig(s *postgres.Server, m metadata.Metadata, place metadata.Place) error {
	path := insideConfig(s)
	if place.ConfigFile != "" {
		path = place.ConfigFile
	}
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := replaceFile(path, []byte(metadata.ConfigFile(m, place))); err != nil {
		return fault.New(diskKind(err), "write configuration file", err)
	}
	if s.Account == nil {
		return nil
	}
	if err := os.Chown(path, int(s.Account.UID), int(s.Account.GID)); err != nil {
		return fault.New(fault.Invalid, "give configuration file to "+s.Account.Name, err)
	}
	return nil
}

// superuser is the role that this host controls the restored server with.
func superuser(m metadata.Metadata) string {
	if len(m.Superusers) > 0 {
		return m.Superusers[0]
	}
	return "postgres" // what initdb's packagers call it; recovery says so if there is no such role
}

// RestoreMetadata lets the users in again, by the primary's rules.
func (t *Target) RestoreMetadata(ctx context.Context, in RestoreInput) (PhaseResult, error) {
	p := beat(ctx)
	defer p.end()
	result, err := t.restoreMetadata(ctx, in)
	return result, judge(ctx, err)
}

func (t *Target) restoreMetadata(ctx context.Context, in RestoreInput) (PhaseResult, error) {
	server, err := t.running(ctx, in.Group, in.Place.Instance, in.Epoch)
	if err != nil {
		return PhaseResult{}, err
	}
	m, err := t.metadataOrNone(ctx, in)
	if err != nil {
		return PhaseResult{}, err
	}
	place, err := t.metadataPlace(ctx, server, m)
	if err != nil {
		return PhaseResult{}, err
	}
	notes, err := t.finish(ctx, server, in, m)
	if err != nil {
		return PhaseResult{}, err
	}
	rules, changed := metadata.HBA(m, place)
	notes = append(notes, changed...)
	if err := server.WriteHBA(rules); err != nil {
		return PhaseResult{}, err
	}
	if err := appendText(server.IdentFile(), metadata.Ident(m)); err != nil {
		return PhaseResult{}, err
	}
	if err := server.Reload(ctx); err != nil {
		return PhaseResult{}, err
	}
	wrong, err := t.fileErrors(ctx, server)
	return PhaseResult{Notes: append(notes, wrong...)}, err
}

// finish puts right what nobody should see otherwise, before anybody gets in.
func (t *Target) finish(ctx context.Context, server *postgres.Server, in RestoreInput, m metadata.Metadata) ([]string, error) {
	dropped, err := t.dropLeftOut(ctx, server, in)
	if err != nil {
		return nil, err
	}
	running, err := t.restorePipelines(ctx, server, in, m)
	if err != nil {
		return nil, err
	}
	differ, err := t.compareInventory(ctx, server, in)
	return slices.Concat(dropped, running, differ), err
}

// appendText adds to a file that WriteHBA has just written anew.
func appendText(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fault.New(diskKind(err), "write user name maps", err)
	}
	return nil
}

// fileErrors asks the server whether it understood the rules and settings.
func (t *Target) fileErrors(ctx context.Context, s *postgres.Server) ([]string, error) {
	conn, err := postgres.Open(ctx, s.Source("postgres"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only read from
	return metadata.FileErrors(ctx, conn)
}

func now() time.Time { return time.Now().UTC() }
