package activities

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

const (
	// trialPrefix begins the names of folders that hold a server which only shows whether it would start.
	trialPrefix = ".trial-"
	// trialWithin is how long a trial may take; a worker that was killed leaves its folder for so long at least.
	trialWithin = 2 * time.Minute
)

// choices are what somebody chose for a server, and what only PostgreSQL itself can judge.
type choices struct {
	size     topology.Size
	settings map[string]string
	hba      []string
	ident    []string
	firewall topology.Firewall
	init     InitOptions
}

// plain reports whether nothing was chosen that PostgreSQL could refuse.
func (c choices) plain() bool {
	return len(c.settings) == 0 && len(c.hba) == 0 && len(c.ident) == 0 && c.init == InitOptions{}
}

// CheckServer has PostgreSQL itself judge what was chosen for a server that is to be made, before anything is recorded.
func (t *Target) CheckServer(ctx context.Context, in NewServer) error {
	p := beat(ctx)
	defer p.end()
	bin, err := findBinaries(in.Postgres, t.BinDirs)
	if err == nil {
		err = t.try(ctx, bin, choices{in.Size, in.Settings, in.HBA, in.Ident, in.Firewall, in.Init})
	}
	return judge(ctx, describe(err, "workspace %s", in.Workspace))
}

// CheckChange has PostgreSQL itself judge what a managed workspace is to be like.
func (t *Target) CheckChange(ctx context.Context, in CheckChangeInput) error {
	p := beat(ctx)
	defer p.end()
	m, err := t.ours(ctx, in.ServerInput)
	if err == nil {
		control, controlErr := m.server.ControlData(ctx)
		if err = controlErr; err == nil {
			same := InitOptions{NoChecksums: !control.Checksums, SegmentSize: control.SegmentSize}
			err = t.try(ctx, m.server.Bin, choices{in.Size, in.Settings, in.HBA, in.Ident, in.Firewall, same})
		}
	}
	return judge(ctx, describe(err, "workspace %s", in.Workspace))
}

// try makes a server with these choices in a folder of its own, starts it, and takes it away again: whatever PostgreSQL
// refuses, alone or together, it refuses here and not where somebody depends on it.
func (t *Target) try(ctx context.Context, bin postgres.Binaries, c choices) error {
	hba, ident, err := c.rules()
	if err != nil || c.plain() {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, trialWithin)
	defer cancel()
	s, remove, err := t.trialServer(bin, c)
	if err != nil {
		return err
	}
	defer remove()
	if err := s.Init(ctx, postgres.InitOptions{Checksums: !c.init.NoChecksums, SegmentSize: c.init.SegmentSize, Locale: c.init.Locale, ICULocale: c.init.ICULocale, NoSync: true}); err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return refusedStart(s, err)
	}
	return applyAccess(ctx, s, metadata.Access{HBA: hba, Ident: ident})
}

func (c choices) rules() (hba, ident string, err error) {
	if hba, err = metadata.ManagedHBA(c.firewall, c.hba); err != nil {
		return "", "", err
	}
	ident, err = metadata.ManagedIdent(c.ident)
	return hba, ident, err
}

// trialServer describes a server that nobody but this process reaches and that ends with it.
func (t *Target) trialServer(bin postgres.Binaries, c choices) (s *postgres.Server, remove func(), err error) {
	if err := makeDataDir(t.DataDir); err != nil {
		return nil, nil, err
	}
	t.sweepTrials()
	dir, err := os.MkdirTemp(t.DataDir, trialPrefix)
	if err != nil {
		return nil, nil, fault.New(diskKind(err), "make folder for a trial", err)
	}
	const port = 5432 // names the socket alone, and its folder is the trial's own
	if s, err = t.server(dir, port, bin.Version); err != nil {
		return nil, nil, err
	}
	s.SocketDir = filepath.Join(os.TempDir(), filepath.Base(dir))
	s.Bin, s.Listen, s.Superuser, s.DieWithParent = bin, "", controlRole, true
	s.Settings = wanted(c.size, c.settings)
	if _, chosen := c.settings["shared_buffers"]; !chosen {
		s.Settings["shared_buffers"] = "16MB" // that of a size is known to be right
	}
	maps.Copy(s.Settings, map[string]string{"fsync": "off"})
	return s, func() { t.endTrial(s) }, nil
}

func (t *Target) endTrial(s *postgres.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	err := s.Stop(ctx, postgres.Immediate)
	for _, dir := range []string{s.InstanceDir(), s.SocketDir} {
		if err == nil {
			err = os.RemoveAll(dir)
		}
	}
	if err != nil {
		t.Log.Warn("a trial was not cleaned up", "folder", s.InstanceDir(), "error", err)
	}
}

// sweepTrials removes what trials left whose worker was killed; their servers have ended with it.
func (t *Target) sweepTrials() {
	left, _ := filepath.Glob(filepath.Join(t.DataDir, trialPrefix+"*")) // the only error is a bad pattern
	for _, dir := range left {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > 2*trialWithin {
			_ = os.RemoveAll(dir) // or the next time
		}
	}
}

// refusedStart says what PostgreSQL says against the settings, in its own words.
func refusedStart(s *postgres.Server, err error) error {
	if !fault.Is(err, fault.Invalid) {
		return err
	}
	var why []string
	hint := "Choose other settings; nothing was changed."
	for _, l := range s.Log() {
		switch l.Severity {
		case "FATAL", "ERROR", "DETAIL", "": // without: what is found out before there is a log
			why = append(why, l.Text)
		case "HINT":
			hint = l.Text + " " + hint
		}
	}
	return fault.Newf(fault.Invalid, "check settings", "PostgreSQL refuses them: %s", strings.Join(why, "; ")).WithHint("%s", hint)
}
