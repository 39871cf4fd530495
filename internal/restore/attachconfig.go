package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
)

// badSetting matches what a server logs about settings in its files that it cannot take on this host; the commonest is a locale
// that is not installed, which initdb writes into every postgresql.conf.
var badSetting = regexp.MustCompile(`^(?:invalid value for parameter|unrecognized configuration parameter) "([A-Za-z_][A-Za-z0-9_.$]*)"`)

// start launches the server. Settings in the restored files that are impossible on this host are turned into comments, and
// noted, since the server starts with none of them.
func (a *attach) start(ctx context.Context) error {
	for {
		err := a.Server.Launch(ctx)
		if err == nil || !fault.Is(err, fault.Invalid) {
			return err
		}
		left, leftErr := a.leaveOut(badSettings(a.Server.Log()))
		if leftErr != nil {
			return leftErr
		}
		if left == 0 {
			return err
		}
	}
}

func badSettings(log []postgres.LogLine) []string {
	var names []string
	for _, l := range log {
		if m := badSetting.FindStringSubmatch(l.Text); m != nil && !slices.Contains(names, m[1]) {
			names = append(names, m[1])
		}
	}
	return names
}

// leaveOut turns settings in the data directory's files into comments, and returns how many lines it changed.
func (a *attach) leaveOut(names []string) (changed int, err error) {
	for _, file := range []string{"postgresql.conf", "postgresql.auto.conf"} {
		path := filepath.Join(a.Server.DataDir, file)
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, fault.New(fault.Transient, opAttach, err)
		}
		text, n := commentOut(string(b), names)
		if n == 0 {
			continue
		}
		changed += n
		if err := errors.Join(writeDurably(path, []byte(text)), a.Server.Own(path)); err != nil {
			return 0, fault.New(fault.Transient, opAttach, err)
		}
	}
	if changed == 0 {
		return 0, nil
	}
	for _, name := range names {
		a.Log.Warn("a setting of the primary is impossible on this host and was left out", "setting", name)
		a.state.Notes = append(a.state.Notes, fmt.Sprintf("%s as the primary had it is impossible on this host and was left out", name))
	}
	return changed, a.saveState()
}

func commentOut(conf string, names []string) (text string, changed int) {
	lines := strings.SplitAfter(conf, "\n")
	for i, line := range lines {
		name := strings.TrimLeft(line, " \t")
		if end := strings.IndexAny(name, " \t=\n"); end >= 0 {
			name = name[:end]
		}
		if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) }) {
			lines[i] = "# left out by SmartDR, impossible on this host: " + line
			changed++
		}
	}
	return strings.Join(lines, ""), changed
}
