package postgres

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
)

// Binaries is one PostgreSQL installation.
type Binaries struct {
	BinDir  string `json:"binDir"`
	Version int    `json:"version"` // as server_version_num: 150018
}

// Major returns the major version.
func (b Binaries) Major() int { return b.Version / 10000 }

// Path returns the path of one program, which need not be there: small distributions have postgres and initdb only.
func (b Binaries) Path(program string) string { return filepath.Join(b.BinDir, program) }

// Find returns the newest installation of one major version. It looks into dirs first (each with the programs, or with a
// folder bin that has them), then into PATH, then where distributions put them.
// It fails with fault.Invalid.
func Find(major int, dirs []string) (Binaries, error) {
	for _, b := range FindAll(dirs) {
		if b.Major() == major {
			return b, nil
		}
	}
	return Binaries{}, fault.Newf(fault.Invalid, "find PostgreSQL", "no PostgreSQL %d on this host", major).
		WithHint("Install PostgreSQL %d (the server, not only the client), or name its bin folder in the worker's configuration.", major)
}

// FindAny returns the newest installation of at least version 15.
func FindAny(dirs []string) (Binaries, error) {
	for _, b := range FindAll(dirs) {
		if b.Major() >= 15 {
			return b, nil
		}
	}
	return Binaries{}, fault.Newf(fault.Invalid, "find PostgreSQL", "no PostgreSQL of version 15 or later on this host").
		WithHint("Install PostgreSQL (the server, not only the client), or name its bin folder in the worker's configuration.")
}

// FindAll returns every installation, newest first. Of the same version the earlier place wins.
func FindAll(dirs []string) []Binaries {
	var all []Binaries
	for _, dir := range candidates(dirs) {
		b, err := inspect(dir)
		if err == nil && !slices.ContainsFunc(all, func(o Binaries) bool { return o.Version == b.Version }) {
			all = append(all, b)
		}
	}
	slices.SortStableFunc(all, func(a, b Binaries) int { return cmp.Compare(b.Version, a.Version) })
	return all
}

func candidates(dirs []string) []string {
	var out []string
	for _, d := range dirs {
		out = append(out, d, filepath.Join(d, "bin"))
	}
	out = append(out, filepath.SplitList(os.Getenv("PATH"))...)
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/usr/lib64/pgsql/bin"} {
		found, _ := filepath.Glob(pattern) // the only error is a bad pattern
		out = append(out, found...)
	}
	return out
}

func inspect(dir string) (Binaries, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Binaries{}, err
	}
	for _, program := range []string{"initdb", "postgres"} {
		if _, err := os.Stat(filepath.Join(dir, program)); err != nil {
			return Binaries{}, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version")
	cmd.Env = environment()
	out, err := cmd.Output()
	if err != nil {
		return Binaries{}, err
	}
	version, err := parseVersion(string(out))
	return Binaries{BinDir: dir, Version: version}, err
}

// parseVersion reads "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)" as 150018, and "19beta1" as 190000.
func parseVersion(text string) (int, error) {
	fields := strings.Fields(text)
	if len(fields) < 3 || fields[1] != "(PostgreSQL)" {
		return 0, fmt.Errorf("%q is not the version of a PostgreSQL server", text)
	}
	major, rest := leadingNumber(fields[2])
	minor := 0
	if after, ok := strings.CutPrefix(rest, "."); ok {
		minor, _ = leadingNumber(after)
	}
	if major < 10 || major > 99 || minor > 9999 {
		return 0, fmt.Errorf("%q is not a version that is known here", fields[2])
	}
	return major*10000 + minor, nil
}

func leadingNumber(s string) (n int, rest string) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	n, err := strconv.Atoi(s[:min(i, 6)])
	if err != nil {
		return 0, s
	}
	return n, s[i:]
}
