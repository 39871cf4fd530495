package activities

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/fence"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
)

// settingsFile is the state file that says that the files of a copy were made to say what the primary's said.
const settingsFile = "settings.json"

// settings writes the configuration files of a copy, before its server is first started, and returns what is otherwise than
// on the primary. Once written they are the server's: recovery may have turned lines into comments, and users change them.
func (t *Target) settings(s *postgres.Server, m metadata.Metadata, place metadata.Place) (metadata.Mapping, error) {
	var done metadata.Mapping
	if found, err := readState(s.InstanceDir(), settingsFile, &done); found || err != nil {
		return done, err
	}
	if err := unfence(s); err != nil {
		return done, err
	}
	plan, err := metadata.PlanSettings(m, place, os.DirFS(s.DataDir))
	if err != nil {
		return done, err
	}
	for name, text := range plan.Files {
		if err := putConfig(s, name, text); err != nil {
			return done, err
		}
	}
	return plan.Mapping, writeState(s.InstanceDir(), settingsFile, plan.Mapping)
}

// putConfig replaces a configuration file of a copy.
func putConfig(s *postgres.Server, name, text string) error {
	path := filepath.Join(s.DataDir, filepath.FromSlash(name))
	if err := replaceFile(path, []byte(text)); err != nil {
		return fault.New(diskKind(err), "write configuration file", err)
	}
	if err := s.Own(path); err != nil {
		return fault.New(fault.Invalid, "give configuration file to the server's account", err)
	}
	return nil
}

// unfence takes the settings of a fence from a copy whose snapshot was being taken when its server was fenced.
func unfence(s *postgres.Server) error {
	const auto = "postgresql.auto.conf"
	b, err := os.ReadFile(filepath.Join(s.DataDir, auto))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.New(fault.Transient, "read configuration of the copy", err)
	}
	if text := fence.Without(string(b)); text != string(b) {
		return putConfig(s, auto, text)
	}
	return nil
}

// compareSettings asks the restored server what is in force, and says what is otherwise than on the primary and was not
// said when the files were written.
func (t *Target) compareSettings(ctx context.Context, s *postgres.Server, m metadata.Metadata) (notes []string, err error) {
	var done metadata.Mapping
	if _, err := readState(s.InstanceDir(), settingsFile, &done); err != nil {
		return nil, err
	}
	conn, err := s.Open(ctx, "postgres")
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only read from
	restored, err := metadata.CaptureSettings(ctx, conn)
	if err != nil {
		return nil, err
	}
	differ := slices.DeleteFunc(metadata.CompareSettings(m, restored, done.Mapped), func(d metadata.SettingDifference) bool {
		return slices.ContainsFunc(done.Mapped, func(o metadata.SettingDifference) bool { return o.Name == d.Name })
	})
	wrong, err := metadata.FileErrors(ctx, conn)
	return append(metadata.SettingNotes(differ), wrong...), err
}

// release takes away what the server was started with for its recovery alone: from its next start on ALTER SYSTEM and the
// files decide, as on the primary. Subscriptions stay off until their positions were compared.
func release(s *postgres.Server) error {
	kept := map[string]string{}
	if v, off := s.Settings["max_logical_replication_workers"]; off {
		kept["max_logical_replication_workers"] = v
	}
	s.Settings = kept
	return s.Save()
}
