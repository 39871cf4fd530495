package fence

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
)

// OnDisk fences a server of this host that is down, so that its next start is fenced, whoever starts it. It is for good: access
// rules let in the host's own control and nobody else. That a server runs after all is fault.Conflict.
func OnDisk(ctx context.Context, s *postgres.Server, o Options) error {
	const op = "fence server that is down"
	if _, running := s.Running(ctx); running {
		return fault.Newf(fault.Conflict, op, "it runs")
	}
	if err := fenceSettings(s, o); err != nil {
		return err
	}
	rules, err := os.ReadFile(s.HBAFile())
	if errors.Is(err, fs.ErrNotExist) || err == nil && fencedRules(rules) {
		return nil
	}
	if err != nil {
		return fault.New(fault.Transient, op, err)
	}
	return s.WriteRules(append(controlOnly(rules, o), []byte(keep(rules))...))
}

// controlOnly keeps the rules that the host controls the server by: those at the top of the file, for the socket.
func controlOnly(rules []byte, o Options) []byte {
	var b strings.Builder
	b.WriteString(fencedHead + fencedBy + oneLine(o.By) + "\n")
	for line := range strings.Lines(string(rules)) {
		fields := strings.Fields(line)
		if len(fields) > 3 && fields[0] == "local" && slices.Contains([]string{"all", "replication"}, fields[1]) && fields[2] != "all" {
			b.WriteString(strings.TrimRight(line, "\n") + "\n")
		}
	}
	return []byte(b.String())
}

// fenceSettings adds the settings to postgresql.auto.conf, where the last one of a name counts.
func fenceSettings(s *postgres.Server, o Options) error {
	const op = "fence server that is down"
	path := filepath.Join(s.DataDir, "postgresql.auto.conf")
	now, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Transient, op, err)
	}
	text := string(now)
	if strings.Contains(text, missingLibrary) {
		return nil
	}
	m, err := json.Marshal(mark{Lineage: o.Lineage.ID, By: o.By, Before: map[string]*string{}})
	if err != nil {
		return fault.New(fault.Invalid, op, err)
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	for _, set := range append([]setting{{name: markSetting, value: string(m)}}, settings(true)...) {
		text += set.name + " = '" + strings.ReplaceAll(strings.ReplaceAll(set.value, `\`, `\\`), "'", "''") + "'\n"
	}
	return s.WriteAutoConf([]byte(text))
}
