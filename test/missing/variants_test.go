package missing_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// variant is a way in which the old server may differ from others.
type variant struct {
	name     string
	settings map[string]string
	nextXID  uint32 // not 0: the first transaction's number
}

// beforeTurn is a little before the numbers of transactions begin anew, so that they do so while histories run.
const beforeTurn = 1<<32 - 2600

// variants are those in which histories run.
func variants(bin postgres.Binaries) []variant {
	list := []variant{{name: "usual"}}
	if !full() {
		return list
	}
	list = append(list,
		variant{name: "logical", settings: map[string]string{"wal_level": "logical"}},
		variant{name: "compressed", settings: map[string]string{"wal_compression": "on"}},
		variant{name: "hints", settings: map[string]string{"wal_log_hints": "on", "full_page_writes": "off"}},
		variant{name: "again"})
	if _, err := os.Stat(bin.Path("pg_resetwal")); err == nil {
		list = append(list, variant{name: "turn", nextXID: beforeTurn})
	}
	return list
}

// turned returns a base whose first transaction has a number of choice: all that is there is frozen.
func (l *line) turned(next uint32) *postgres.Server {
	t := l.t
	s := postgrestest.Copy(t, l.base)
	check(t, s.Start(t.Context()))
	for _, d := range append([]string{"postgres", "template1"}, databases...) {
		postgrestest.Exec(t, s, d, "vacuum freeze")
	}
	check(t, s.Stop(t.Context(), postgres.Fast))
	cmd := exec.CommandContext(t.Context(), s.Bin.Path("pg_resetwal"), "-x", fmt.Sprint(next), "-u", fmt.Sprint(next-1e6), s.DataDir)
	if s.Account != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: s.Account.UID, Gid: s.Account.GID}}
	}
	cmd.Dir = "/"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("pg_resetwal: %v: %s", err, out)
	}
	const perFile = 1 << 20 // transactions that a file of pg_xact has room for, in 256 KiB
	clog := filepath.Join(s.DataDir, "pg_xact", fmt.Sprintf("%04X", next/perFile))
	check(t, os.WriteFile(clog, bytes.Repeat([]byte{0}, perFile/4), 0o600))
	check(t, s.OwnTree(filepath.Dir(clog)))
	return s
}
