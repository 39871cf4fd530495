package postgrestest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/postgres"
)

// Patience is how long a test waits for what is due within seconds. Generous: a machine may be busy with much else.
const Patience = 5 * time.Minute

// StartStandby makes a streaming standby of a primary and starts it. The primary is stopped for a moment, so that
// its files can be copied as they are.
func StartStandby(t testing.TB, primary *postgres.Server) *postgres.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	Check(t, primary.Stop(ctx, postgres.Fast))
	standby := Copy(t, primary)
	Check(t, primary.Start(ctx))
	standby.Settings["primary_conninfo"] = fmt.Sprintf("host=127.0.0.1 port=%d user=%s application_name=standby", primary.Port, primary.Superuser)
	Check(t, standby.WriteStandbySignal())
	Check(t, standby.Start(ctx))
	return standby
}

// Copy copies a stopped server into a folder of its own. Both have the same system identifier.
func Copy(t testing.TB, s *postgres.Server) *postgres.Server {
	t.Helper()
	c := NewServer(t, s.Bin)
	for k, v := range s.Settings {
		c.Settings[k] = v
	}
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", s.DataDir, c.DataDir).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	Check(t, c.WriteHBA(TrustLocal))
	return c
}

// WaitReplayed waits until a standby has replayed what its primary has written so far.
func WaitReplayed(t testing.TB, primary, standby *postgres.Server) {
	t.Helper()
	end := Query(t, primary, "postgres", "SELECT pg_current_wal_lsn()")
	replayed := fmt.Sprintf("SELECT pg_last_wal_replay_lsn() >= '%s'", end)
	for last := time.Now().Add(Patience); Query(t, standby, "postgres", replayed) != "true"; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(last) {
			t.Fatalf("the standby does not replay %s", end)
		}
	}
}

// WALFile reads a file of pg_wal.
func WALFile(t testing.TB, s *postgres.Server, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.DataDir, "pg_wal", name))
	Check(t, err)
	return b
}
