package activities

import (
	"context"
	"time"

	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/restore"
)

// attachInput puts together what recovery needs: the server with the settings of the primary, as they were last seen, and the
// point to reach. Until RestoreMetadata nobody but this host gets in. The notes say what is otherwise than on the primary.
func (t *Target) attachInput(ctx context.Context, in RestoreInput, fetched restore.FetchedWAL, m metadata.Metadata) (restore.AttachInput, []string, error) {
	server, err := t.server(in.Place.Instance, in.Place.Port, in.Plan.ServerVersion)
	if err != nil {
		return restore.AttachInput{}, nil, err
	}
	if m.Managed, err = t.wasManaged(ctx, in); err != nil {
		return restore.AttachInput{}, nil, err
	}
	server.Superuser = superuser(m)
	place, err := t.metadataPlace(ctx, server, m)
	if err != nil {
		return restore.AttachInput{}, nil, err
	}
	place.Minimums = fetched.MaxParameters
	place.Isolated = in.Branch != ""
	settings, err := t.settings(server, m, place)
	if err != nil {
		return restore.AttachInput{}, nil, err
	}
	if err := server.WriteHBA(""); err != nil {
		return restore.AttachInput{}, nil, err
	}
	input := restore.AttachInput{
		Server: server, Superuser: server.Superuser,
		Plan:     restore.Plan{Timeline: fetched.End.Timeline, RecordEnd: fetched.RecordEnd},
		Minimums: fetched.MaxParameters, Overrides: settings.CommandLine, SlotName: slotName(in.Group, in.Plan.Workspace), Log: t.Log,
		ReplayFrom: in.Plan.SnapshotStart.LSN, Tablespaces: fetched.Tablespaces, FileCopies: fetched.FileCopies,
	}
	if in.Branch != "" {
		branchAttach(&input, in)
	}
	for _, d := range in.Plan.Omitted {
		input.OmittedDatabases = append(input.OmittedDatabases, d.OID)
	}
	return input, append(metadata.SettingNotes(settings.Mapped), settings.Notes...), nil
}

func (t *Target) metadataPlace(ctx context.Context, s *postgres.Server, m metadata.Metadata) (metadata.Place, error) {
	host, err := metadata.Inspect(ctx, s.Bin, t.DataDir)
	if err != nil {
		return metadata.Place{}, err
	}
	return metadata.Place{
		DataDir: s.DataDir, SocketDir: s.SocketDir, Listen: s.Listen, Port: s.Port,
		HBAFile: s.HBAFile(), IdentFile: s.IdentFile(), Admin: s.Superuser, Host: host, Readable: readable(s, m),
	}, nil
}

// wasManaged reports whether SmartDR ran the server that is brought back.
func (t *Target) wasManaged(ctx context.Context, in RestoreInput) (bool, error) {
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return false, err
	}
	w, from := loaded.Group.Workspace(in.Plan.Workspace), loaded.Group.Other(in.To)
	if in.Branch != "" || replacing(&loaded.Group) {
		from = loaded.Group.Active
	}
	return w != nil && w.Managed(from), nil
}

// superuser is the role that this host controls the restored server with.
func superuser(m metadata.Metadata) string {
	if len(m.Superusers) > 0 {
		return m.Superusers[0]
	}
	return "postgres" // what initdb's packagers call it; recovery says so if there is no such role
}

func now() time.Time { return time.Now().UTC() }
