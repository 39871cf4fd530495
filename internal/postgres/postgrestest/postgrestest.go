// Package postgrestest starts real PostgreSQL servers for tests, of each major version that is found on this machine.
package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest/cluster"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest/ports"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest/scratch"
	"github.com/smartdr/smartdr/internal/topology"
)

// MajorsVariable selects major versions, as "15,18" or "15 18". Without it tests run on all that are found.
const MajorsVariable = "SMARTDR_TEST_PG_MAJORS"

// Installations returns one installation of each selected major version, oldest first. Selected versions that
// are not there fail the test; none at all does too, since a test that silently ran on nothing shows nothing.
func Installations(t testing.TB) []postgres.Binaries {
	t.Helper()
	var found []postgres.Binaries
	for _, b := range postgres.FindAll(toolDirs()) {
		if b.Major() >= 15 && !slices.ContainsFunc(found, func(o postgres.Binaries) bool { return o.Major() == b.Major() }) {
			found = append(found, b)
		}
	}
	slices.Reverse(found)
	if wanted := os.Getenv(MajorsVariable); wanted != "" {
		found = selectMajors(t, found, strings.FieldsFunc(wanted, func(r rune) bool { return r == ',' || r == ' ' }))
	}
	if len(found) == 0 {
		t.Fatal("no PostgreSQL 15 or later on this machine")
	}
	return found
}

func selectMajors(t testing.TB, found []postgres.Binaries, wanted []string) []postgres.Binaries {
	t.Helper()
	var out []postgres.Binaries
	for _, w := range wanted {
		i := slices.IndexFunc(found, func(b postgres.Binaries) bool { return strconv.Itoa(b.Major()) == strings.TrimSpace(w) })
		if i < 0 {
			t.Fatalf("%s asks for PostgreSQL %s, which is not on this machine", MajorsVariable, w)
		}
		out = append(out, found[i])
	}
	return out
}

// toolDirs are the installations in the repository's own tool folder.
func toolDirs() []string {
	tools := cluster.ToolsDir()
	if tools == "" {
		return nil
	}
	found, _ := filepath.Glob(filepath.Join(tools, "postgres", "*"))
	return found
}

// ForEach runs a test once per installation, one after the other.
func ForEach(t *testing.T, test func(t *testing.T, bin postgres.Binaries)) {
	for _, bin := range Installations(t) {
		t.Run(fmt.Sprintf("pg%d", bin.Major()), func(t *testing.T) { test(t, bin) })
	}
}

// FullVariable asks for every case of tests that meet a part of them otherwise.
const FullVariable = "SMARTDR_TEST_FULL"

// InTurn runs a test on one of the installations: tests that have other names meet other ones. With FullVariable it runs on each. It is for
// tests of what SmartDR does with a server, rather than of what a version of PostgreSQL says or writes.
func InTurn(t *testing.T, test func(t *testing.T, bin postgres.Binaries)) {
	if os.Getenv(FullVariable) != "" {
		ForEach(t, test)
		return
	}
	all := Installations(t)
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(t.Name())) // never fails
	bin := all[int(hash.Sum32()>>8)%len(all)]
	t.Run(fmt.Sprintf("pg%d", bin.Major()), func(t *testing.T) { test(t, bin) })
}

// TempDir makes a folder that servers can reach, also when the test runs as root and servers do not.
func TempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(scratch.Dir(t), "sdr")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := errors.Join(os.Chmod(dir, 0o755), chown(dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func chown(dir string) error {
	a, err := postgres.DefaultAccount()
	if a == nil {
		return err
	}
	return os.Chown(dir, int(a.UID), int(a.GID))
}

// NewServer describes a server in a folder of its own that listens on 127.0.0.1. It makes nothing yet; whatever runs at the
// test's end is killed.
func NewServer(t testing.TB, bin postgres.Binaries) *postgres.Server {
	t.Helper()
	dir := TempDir(t)
	account, err := postgres.DefaultAccount()
	if err != nil {
		t.Fatal(err)
	}
	s := &postgres.Server{
		Bin: bin, DataDir: filepath.Join(dir, "data"), SocketDir: filepath.Join(dir, "socket"), LogFile: filepath.Join(dir, "log"),
		Listen: "127.0.0.1", Port: FreePort(t), Superuser: "postgres", Account: account, DieWithParent: true,
		Settings: map[string]string{"fsync": "off", "shared_buffers": "32MB"},
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t testing.TB, s *postgres.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := s.Kill(ctx); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		for _, l := range s.Log() {
			t.Log(l.Severity, l.Text)
		}
	}
}

// Start makes a cluster and starts it, with settings beside the usual ones. Everybody on this machine may connect with any
// role, also for replication, without a password.
func Start(t testing.TB, bin postgres.Binaries, settings map[string]string) *postgres.Server {
	t.Helper()
	s := NewServer(t, bin)
	for k, v := range settings {
		s.Settings[k] = v
	}
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	Check(t, cluster.Init(ctx, s, postgres.InitOptions{Checksums: true}))
	Check(t, s.WriteHBA(TrustLocal))
	Check(t, s.Start(ctx))
	return s
}

// TrustLocal are rules that let everybody on this machine in.
const TrustLocal = "host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n"

// FreePort returns a port that nobody else on this host gets until this process ends.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := ports.Free()
	Check(t, err)
	return port
}

// Source returns how clients reach the server over TCP, for servers whose rules are TrustLocal.
func Source(s *postgres.Server, user, database string) topology.Source {
	return topology.Source{ConnString: fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=%s sslmode=disable", s.Port, user, database)}
}

// Exec runs SQL as the superuser. Parameters are not supported, so that several statements may be run at once.
func Exec(t testing.TB, s *postgres.Server, database, sql string) {
	t.Helper()
	conn := Open(t, s, database)
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Query returns the one value that a query gives, as text.
func Query(t testing.TB, s *postgres.Server, database, sql string) string {
	t.Helper()
	conn := Open(t, s, database)
	defer conn.Close(context.Background())
	var text *string
	if err := conn.QueryRow(t.Context(), "SELECT ("+sql+")::text").Scan(&text); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if text == nil {
		return ""
	}
	return *text
}

// Open connects as the superuser. The caller closes.
func Open(t testing.TB, s *postgres.Server, database string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	conn, err := s.Open(ctx, database)
	Check(t, err)
	return conn
}

// Check fails the test on an error.
func Check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// PID returns the process of a server, which must run: signals to process 0 would reach the test and all beside it.
func PID(t testing.TB, s *postgres.Server) int {
	t.Helper()
	pid, running := s.Running(t.Context())
	if !running || pid <= 0 {
		t.Fatal("the server does not run")
	}
	return pid
}
