package postgres

import (
	"bytes"
	"context"
	"os/exec"
	"regexp"
	"strings"
	"syscall"

	"github.com/smartdr/smartdr/internal/fault"
)

// singleValue is how the single-user mode prints a column (printatt in src/backend/access/common/printtup.c).
var singleValue = regexp.MustCompile(`^\t ?1: \S+ = "(.*)"\t\(typeid`)

// Single runs one query in a cluster that no server runs on, without a socket, and returns its first column. The query has to
// be one line. For questions to an installation, on a cluster that is thrown away.
func (s *Server) Single(ctx context.Context, database, query string) ([]string, error) {
	const op = "ask PostgreSQL in single-user mode"
	cmd := exec.CommandContext(ctx, s.Bin.Path("postgres"), "--single", "-D", s.DataDir, "-c", "fsync=off", database)
	cmd.Dir, cmd.Env = s.DataDir, environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.Account.credential()}
	cmd.Stdin = strings.NewReader(query + "\n")
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return nil, fault.Newf(fault.Invalid, op, "%w: %s", err, strings.TrimSpace(problems.String()))
	}
	if strings.Contains(problems.String(), "ERROR:") {
		return nil, fault.Newf(fault.Invalid, op, "%s", strings.TrimSpace(problems.String()))
	}
	var values []string
	for line := range strings.Lines(out.String()) {
		if m := singleValue.FindStringSubmatch(line); m != nil {
			values = append(values, m[1])
		}
	}
	return values, nil
}
