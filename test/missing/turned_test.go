package missing_test

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// beforeTurn is how many transaction numbers are left before they go round: fewer than a history takes up to the fork, so that most of what is
// compared and merged is of transactions beyond 2^32.
const beforeTurn = 1000

// turned returns a copy of a stopped server which goes on close to the last transaction number, as if it had given out all before. It skips the
// test where the installation cannot make one.
func turned(t testing.TB, base *postgres.Server) *postgres.Server {
	t.Helper()
	path, err := filepath.EvalSymlinks(base.Bin.Path("postgres"))
	check(t, err)
	reset := filepath.Join(filepath.Dir(path), "pg_resetwal")
	if _, err := os.Stat(reset); err != nil {
		t.Skipf("this installation has no pg_resetwal: %v", err)
	}
	s := postgrestest.Copy(t, base)
	freeze(t, s, "alter database template0 allow_connections true", "select")
	const next = uint32(math.MaxUint32 - beforeTurn)
	status := filepath.Join(s.DataDir, "pg_xact", fmt.Sprintf("%04X", next>>20))
	check(t, os.WriteFile(status, make([]byte, 256<<10), 0o600))
	cmd := exec.CommandContext(t.Context(), reset, "-D", s.DataDir, "-x", fmt.Sprint(next), "-u", fmt.Sprint(next-1000))
	if s.Account != nil {
		check(t, os.Chown(status, int(s.Account.UID), int(s.Account.GID)))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: s.Account.UID, Gid: s.Account.GID}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	freeze(t, s, "select", "alter database template0 allow_connections false") // the catalogs say up to where all is frozen, which must not be ahead
	return s
}

// freeze lets nothing of a server that does not run depend on the numbers of transactions, but what is done afterwards.
func freeze(t testing.TB, s *postgres.Server, before, after string) {
	t.Helper()
	check(t, s.Start(t.Context()))
	postgrestest.Exec(t, s, "postgres", before)
	for _, d := range slices.Concat(databases, []string{"postgres", "template0", "template1"}) {
		postgrestest.Exec(t, s, d, "vacuum (freeze)")
	}
	postgrestest.Exec(t, s, "postgres", after)
	check(t, s.Stop(t.Context(), postgres.Fast))
}

// beyondTurn says whether a server has given out all numbers once.
func beyondTurn(t testing.TB, s *postgres.Server) bool {
	t.Helper()
	return postgrestest.Query(t, s, "postgres", "pg_snapshot_xmax(pg_current_snapshot())::text::numeric > 4294967296") == "true"
}
