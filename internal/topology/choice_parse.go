package topology

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

const choicesHint = `Give "latest", a time as "2026-11-23T10:00:00Z", an LSN as "0/3000148", or one for each of several workspaces as "main=0/3000148,side=1/0".`

// ParseChoice reads the point that a failover is to go to: "latest" or nothing, a time as ParseMoment reads it, an LSN where there is
// one workspace, or "main=0/3000148,side=1/0". workspaces are those that would be brought back. Errors are fault.Invalid.
func ParseChoice(text string, workspaces []string) (Choice, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "" || text == "latest":
		return Choice{}, nil
	case strings.Contains(text, "="):
		return parseLSNs(text, workspaces)
	}
	moment, err := ParseMoment(text)
	if _, unsure := withoutZone(text); err == nil || unsure {
		return Choice{Time: moment}, err
	}
	at, err := wal.ParseLSN(text)
	switch {
	case err != nil:
		return Choice{}, badChoice("%q is no point in time and no LSN", text)
	case len(workspaces) != 1:
		return Choice{}, badChoice("LSN %s could be of any of the workspaces %s", at, strings.Join(workspaces, ", "))
	}
	return chosenLSN(Choice{}, workspaces[0], at)
}

func parseLSNs(text string, workspaces []string) (c Choice, err error) {
	for part := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		at, err := wal.ParseLSN(value)
		switch _, twice := c.LSNs[name]; {
		case !ok || err != nil:
			return c, badChoice("%q is no workspace with an LSN", part)
		case !slices.Contains(workspaces, name):
			return c, badChoice("there is no workspace %q to bring back: there is %s", name, strings.Join(workspaces, ", "))
		case twice:
			return c, badChoice("workspace %q has two points", name)
		}
		if c, err = chosenLSN(c, name, at); err != nil {
			return c, err
		}
	}
	return c, nil
}

func chosenLSN(c Choice, workspace string, at wal.LSN) (Choice, error) {
	if at == 0 {
		return c, badChoice("no WAL begins at 0/0")
	}
	if c.LSNs == nil {
		c.LSNs = map[string]wal.LSN{}
	}
	c.LSNs[workspace] = at
	return c, nil
}

func badChoice(format string, args ...any) error {
	return fault.Newf(fault.Invalid, "read point", format, args...).WithHint("%s", choicesHint)
}

// String writes a choice as ParseChoice reads it where there are several workspaces.
func (c Choice) String() string {
	if c.Latest() {
		return "latest"
	}
	if !c.Time.IsZero() {
		return c.Time.UTC().Format(time.RFC3339Nano)
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(c.LSNs)) {
		parts = append(parts, fmt.Sprintf("%s=%s", name, c.LSNs[name]))
	}
	return strings.Join(parts, ",")
}
