package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/wal"
)

func TestLifeOfAServer(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		ctx := devtest.Context(t)
		s := postgrestest.Start(t, bin, nil)
		postgrestest.Check(t, s.Ready(ctx))
		if got := postgrestest.Query(t, s, "postgres", "current_setting('server_version_num')"); got != strconv.Itoa(bin.Version) {
			t.Errorf("server_version_num %s, FindAll said %d", got, bin.Version)
		}
		postgrestest.Exec(t, s, "postgres", "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")

		for _, mode := range []postgres.StopMode{postgres.Fast, postgres.Immediate} {
			postgrestest.Check(t, s.Stop(ctx, mode))
			if _, running := s.Running(ctx); running {
				t.Fatalf("still runs after a %s stop", mode)
			}
			if err := s.Ready(ctx); !fault.Is(err, fault.Transient) {
				t.Errorf("Ready of a stopped server: %v", err)
			}
			postgrestest.Check(t, s.Stop(ctx, mode)) // once more is fine
			postgrestest.Check(t, s.Start(ctx))
			postgrestest.Check(t, s.Start(ctx))
		}
		postgrestest.Check(t, s.Kill(ctx))
		postgrestest.Check(t, s.Start(ctx))
		if got := postgrestest.Query(t, s, "postgres", "SELECT n FROM kept"); got != "7" {
			t.Errorf("after a crash the table holds %q", got)
		}
	})
}

// A kernel has some thousands of places for shared memory: tests that kill servers all day must not use them up.
func TestAKilledServerLeavesNoSharedMemory(t *testing.T) {
	s := postgrestest.Start(t, postgrestest.Installations(t)[0], nil)
	b, err := os.ReadFile(filepath.Join(s.DataDir, "postmaster.pid"))
	postgrestest.Check(t, err)
	var key uint64
	var id int
	_, err = fmt.Sscan(strings.Split(string(b), "\n")[6], &key, &id)
	postgrestest.Check(t, err)
	if _, err := unix.SysvShmCtl(id, unix.IPC_STAT, new(unix.SysvShmDesc)); err != nil {
		t.Fatalf("a server that runs has no segment %d: %v", id, err)
	}
	dynamic := dynamicMemory(t, s)
	if len(dynamic) == 0 {
		t.Fatal("a server that runs has no dynamic shared memory")
	}
	postgrestest.Check(t, s.Kill(devtest.Context(t)))
	if _, err := unix.SysvShmCtl(id, unix.IPC_STAT, new(unix.SysvShmDesc)); !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EIDRM) {
		t.Errorf("segment %d is there still: %v", id, err)
	}
	for _, file := range dynamic {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there still: %v", file, err)
		}
	}
}

// dynamicMemory returns the files of POSIX shared memory that a process of the server uses.
func dynamicMemory(t *testing.T, s *postgres.Server) []string {
	t.Helper()
	conn, err := s.Open(t.Context(), "postgres")
	postgrestest.Check(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", conn.PgConn().PID()))
	postgrestest.Check(t, err)
	files := regexp.MustCompile(`/dev/shm/PostgreSQL\.\d+`).FindAllString(string(maps), -1)
	slices.Sort(files)
	return slices.Compact(files)
}

func TestAnotherProcessTakesOver(t *testing.T) {
	ctx := devtest.Context(t)
	s := postgrestest.Start(t, postgrestest.Installations(t)[0], nil)
	postgrestest.Check(t, s.Save())
	loaded, err := postgres.Load(s.InstanceDir())
	postgrestest.Check(t, err)
	if diff := cmp.Diff(s, loaded, cmpopts.IgnoreUnexported(postgres.Server{}), cmpopts.IgnoreFields(postgres.Server{}, "DieWithParent")); diff != "" {
		t.Errorf("loaded (-saved +loaded):\n%s", diff)
	}
	pid, running := s.Running(ctx)
	if again, ok := loaded.Running(ctx); !running || !ok || again != pid {
		t.Errorf("Running: %d %v, loaded %d %v", pid, running, again, ok)
	}
	if log := loaded.Log(); len(log) == 0 || !strings.HasPrefix(log[0].Text, "starting PostgreSQL") {
		t.Errorf("the log as another process reads it begins with %v", log)
	}
	postgrestest.Check(t, loaded.Stop(ctx, postgres.Fast))
	if _, running := s.Running(ctx); running {
		t.Error("still runs")
	}
	if _, err := postgres.Load(t.TempDir()); !fault.Is(err, fault.Missing) {
		t.Errorf("Load of nothing: %v", err)
	}
}

// TestServerOutlivesItsStarter starts a server from a process that then is killed.
func TestServerOutlivesItsStarter(t *testing.T) {
	ctx := devtest.Context(t)
	s := postgrestest.Start(t, postgrestest.Installations(t)[0], nil)
	postgrestest.Check(t, s.Stop(ctx, postgres.Fast))
	postgrestest.Check(t, s.Save())
	starter := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestStarterProcess$")
	starter.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its group dies with it, as a terminal's does
	starter.Env = append(os.Environ(), "SMARTDR_TEST_START="+s.InstanceDir())
	if out, err := starter.CombinedOutput(); err == nil {
		t.Fatalf("the starter should have been killed:\n%s", out)
	}
	if _, running := s.Running(ctx); !running {
		t.Fatal("the server died with its starter")
	}
	postgrestest.Check(t, s.Ready(ctx))
}

func TestStarterProcess(t *testing.T) {
	dir := os.Getenv("SMARTDR_TEST_START")
	if dir == "" {
		t.Skip("runs only as the process of another test")
	}
	s, err := postgres.Load(dir)
	postgrestest.Check(t, err)
	postgrestest.Check(t, s.Start(devtest.Context(t)))
	if syscall.Getpgrp() != os.Getpid() {
		t.Fatal("not in a process group of its own")
	}
	postgrestest.Check(t, syscall.Kill(-os.Getpid(), syscall.SIGKILL))
	<-t.Context().Done()
}

func TestLockFileOfAnotherProcess(t *testing.T) {
	ctx := devtest.Context(t)
	s := postgrestest.Start(t, postgrestest.Installations(t)[0], nil)
	lock := filepath.Join(s.DataDir, "postmaster.pid")
	content, err := os.ReadFile(lock)
	postgrestest.Check(t, err)
	postgrestest.Check(t, s.Kill(ctx))

	// The number now belongs to a process of the same account that is no server, working in the data directory.
	other := exec.CommandContext(ctx, "sleep", "600")
	other.Dir = s.DataDir
	other.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if s.Account != nil {
		other.SysProcAttr.Credential = &syscall.Credential{Uid: s.Account.UID, Gid: s.Account.GID}
	}
	postgrestest.Check(t, other.Start())
	t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	_, rest, _ := bytes.Cut(content, []byte("\n"))
	stale := append([]byte(strconv.Itoa(other.Process.Pid)+"\n"), rest...)
	postgrestest.Check(t, os.WriteFile(lock, stale, 0o600))

	if pid, running := s.Running(ctx); running {
		t.Errorf("process %d is taken for the server", pid)
	}
	postgrestest.Check(t, s.Start(ctx))
}

// A kill between making the lock file and writing into it leaves an empty one, which PostgreSQL does not start over.
func TestEmptyLockFile(t *testing.T) {
	ctx := devtest.Context(t)
	s := postgrestest.Start(t, postgrestest.Installations(t)[0], nil)
	postgrestest.Check(t, s.Kill(ctx))
	postgrestest.Check(t, os.WriteFile(filepath.Join(s.DataDir, "postmaster.pid"), nil, 0o600))
	postgrestest.Check(t, s.Start(ctx))
	pid, running := s.Running(ctx)
	if !running {
		t.Fatal("it does not run")
	}
	postgrestest.Check(t, s.Start(ctx))
	if again, _ := s.Running(ctx); again != pid {
		t.Errorf("started over process %d: %d", pid, again)
	}
}

func TestStartSaysWhyItFailed(t *testing.T) {
	ctx := devtest.Context(t)
	s := postgrestest.Start(t, postgrestest.Installations(t)[0], nil)
	second := *s
	second.DataDir = filepath.Join(postgrestest.TempDir(t), "data")
	second.LogFile = filepath.Join(second.InstanceDir(), "log")
	second.SocketDir = filepath.Join(second.InstanceDir(), "socket")
	postgrestest.Check(t, second.Init(ctx, postgres.InitOptions{NoSync: true}))
	t.Cleanup(func() { _ = second.Kill(context.Background()) })

	err := second.Start(ctx)
	if !fault.Is(err, fault.Invalid) || !strings.Contains(fault.HintOf(err), strconv.Itoa(s.Port)) {
		t.Errorf("a port that is taken: %v, hint %q", err, fault.HintOf(err))
	}
	second.Port = postgrestest.FreePort(t)
	second.Settings = map[string]string{"shared_preload_libraries": "not_there"}
	if err := second.Start(ctx); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "not_there") {
		t.Errorf("a missing library: %v", err)
	}
	if err := second.Init(ctx, postgres.InitOptions{}); !fault.Is(err, fault.Conflict) {
		t.Errorf("Init over a cluster: %v", err)
	}
}

// TestStartedTwiceAtOnce: an interrupted start goes on by itself, and whoever starts next finds it.
func TestStartedTwiceAtOnce(t *testing.T) {
	ctx := devtest.Context(t)
	s := postgrestest.Start(t, postgrestest.Installations(t)[0], nil)
	for range 5 {
		postgrestest.Check(t, s.Stop(ctx, postgres.Immediate))
		short, cancel := context.WithTimeout(ctx, time.Microsecond)
		if err := s.Launch(short); err != nil && !fault.Is(err, fault.Transient) { // nil when the server was quick
			t.Errorf("interrupted: %v", err)
		}
		cancel()
		other := *s
		postgrestest.Check(t, other.Start(ctx))
	}
	short, cancel := context.WithTimeout(ctx, time.Microsecond)
	defer cancel()
	postgrestest.Check(t, s.Stop(ctx, postgres.Immediate))
	_ = s.Launch(short)
	postgrestest.Check(t, s.Kill(ctx))
	postgrestest.Check(t, s.Start(ctx))
}

// TestWhoStopsAServerIsNoReasonToGiveItUp: who waits for a server that somebody else is ending may start it again.
func TestWhoStopsAServerIsNoReasonToGiveItUp(t *testing.T) {
	ctx := devtest.Context(t)
	s := postgrestest.Start(t, postgrestest.Installations(t)[0], nil)
	conn, err := s.Open(ctx, "postgres")
	postgrestest.Check(t, err)
	defer conn.Close(ctx) //nolint:errcheck // the server has ended it
	postgrestest.Check(t, s.Stop(ctx, postgres.Fast))
	sentAway := func(l postgres.LogLine) bool {
		return l.Severity == "FATAL" && strings.Contains(l.Text, "administrator command")
	}
	if err := s.WhyEnded(); !fault.Is(err, fault.Transient) || !slices.ContainsFunc(s.Log(), sentAway) {
		t.Errorf("its log says that a client was sent away: %v", err)
	}
}

// TestWhatClientsAreToldIsNoReasonToGiveAServerUp: clients knock all the time at a server that is being brought up, and are refused.
func TestWhatClientsAreToldIsNoReasonToGiveAServerUp(t *testing.T) {
	ctx := devtest.Context(t)
	s := postgrestest.Start(t, postgrestest.Installations(t)[0], nil)
	if conn, err := postgres.Open(ctx, postgrestest.Source(s, "nobody_of_that_name", "postgres")); err == nil {
		t.Fatal("it let in a role that is not there", conn.Close(ctx))
	}
	if !slices.ContainsFunc(s.Log(), func(l postgres.LogLine) bool { return l.Severity == "FATAL" }) {
		t.Fatal("its log does not say that it refused a client")
	}
	postgrestest.Check(t, s.Kill(ctx))
	if err := s.WhyEnded(); !fault.Is(err, fault.Transient) {
		t.Errorf("it was killed, and is said to have given up: %v", err)
	}
}

// TestNoSecretIsInherited looks into the environment of a server that was started from one with a secret.
func TestNoSecretIsInherited(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hush")
	s := postgrestest.Start(t, postgrestest.Installations(t)[0], nil)
	pid, _ := s.Running(t.Context())
	env, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	postgrestest.Check(t, err)
	if bytes.Contains(env, []byte("hush")) || len(env) == 0 {
		t.Errorf("the server's environment: %q", env)
	}
}

func TestPrivateUntilTold(t *testing.T) {
	ctx := devtest.Context(t)
	s := postgrestest.Start(t, postgrestest.Installations(t)[0], nil)
	tcp := postgrestest.Source(s, "postgres", "postgres")
	open := func() error {
		conn, err := postgres.Open(ctx, tcp)
		if err == nil {
			postgrestest.Check(t, conn.Close(ctx))
		}
		return err
	}
	postgrestest.Check(t, open())
	postgrestest.Check(t, s.WriteHBA(""))
	postgrestest.Check(t, s.Reload(ctx))
	devtest.Until(t, "refused", func() bool { return fault.Is(open(), fault.Invalid) })
	postgrestest.Check(t, s.Ready(ctx))
}

// TestControlData compares with pg_controldata where there is one, and with SQL.
func TestControlData(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		ctx := devtest.Context(t)
		s := postgrestest.Start(t, bin, map[string]string{
			"max_connections": "123", "max_worker_processes": "13", "max_wal_senders": "17",
			"max_prepared_transactions": "19", "max_locks_per_transaction": "77", "wal_log_hints": "on", "wal_level": "logical",
		})
		got, err := s.ControlData(ctx)
		postgrestest.Check(t, err)
		lsn, err := wal.ParseLSN(postgrestest.Query(t, s, "postgres", "SELECT checkpoint_lsn FROM pg_control_checkpoint()"))
		postgrestest.Check(t, err)
		redo, err := wal.ParseLSN(postgrestest.Query(t, s, "postgres", "SELECT redo_lsn FROM pg_control_checkpoint()"))
		postgrestest.Check(t, err)
		want := postgres.Control{
			SystemID: postgrestest.Query(t, s, "postgres", "SELECT system_identifier FROM pg_control_system()"),
			State:    postgres.InProduction, SegmentSize: wal.DefaultSegmentSize, Checksums: true,
			Checkpoint: wal.Position{Timeline: 1, LSN: lsn}, Redo: redo,
			Minimums: wal.Parameters{MaxConnections: 123, MaxWorkerProcesses: 13, MaxWALSenders: 17,
				MaxPreparedTransactions: 19, MaxLocksPerTransaction: 77, WALLevel: 2, WALLogHints: true},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pg_control (-SQL +parsed):\n%s", diff)
		}
		postgrestest.Check(t, s.Stop(ctx, postgres.Fast))
		got, err = s.ControlData(ctx)
		postgrestest.Check(t, err)
		if got.State != postgres.ShutDown {
			t.Errorf("state %q after a stop", got.State)
		}
		compareWithOracle(t, s, got)
	})
}

func compareWithOracle(t *testing.T, s *postgres.Server, got postgres.Control) {
	t.Helper()
	oracle := s.Bin.Path("pg_controldata")
	if _, err := os.Stat(oracle); err != nil {
		return
	}
	cmd := exec.CommandContext(t.Context(), oracle, s.DataDir)
	cmd.Env = []string{"LC_ALL=C"}
	out, err := cmd.Output()
	postgrestest.Check(t, err)
	for label, want := range map[string]string{
		"Database system identifier:": got.SystemID, "Database cluster state:": string(got.State),
		"Latest checkpoint location:": got.Checkpoint.LSN.String(), "Latest checkpoint's REDO location:": got.Redo.String(),
		"max_worker_processes setting:":     strconv.Itoa(got.Minimums.MaxWorkerProcesses),
		"Minimum recovery ending location:": got.MinRecoveryPoint.LSN.String(), "Bytes per WAL segment:": strconv.Itoa(int(got.SegmentSize)),
	} {
		_, after, ok := strings.Cut(string(out), label)
		line, _, _ := strings.Cut(after, "\n")
		if !ok || strings.TrimSpace(line) != want {
			t.Errorf("pg_controldata says %s %s; parsed %s", label, strings.TrimSpace(line), want)
		}
	}
}

func TestInvalidControlDoesNotStart(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		ctx := devtest.Context(t)
		s := postgrestest.Start(t, bin, nil)
		postgrestest.Check(t, s.Stop(ctx, postgres.Fast))
		path := filepath.Join(s.DataDir, postgres.ControlFile)
		good, err := os.ReadFile(path)
		postgrestest.Check(t, err)
		bad, err := postgres.ReplaceableInvalidControl(good)
		postgrestest.Check(t, err)
		postgrestest.Check(t, os.WriteFile(path, bad, 0o600))
		if err := s.Start(ctx); !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), "checkpoint") {
			t.Errorf("start from an invalid pg_control: %v", err)
		}
		if _, err := s.ControlData(ctx); err != nil {
			t.Errorf("its checksum should hold: %v", err)
		}
		bad[100] ^= 1
		if _, err := postgres.ParseControl(bad); !fault.Is(err, fault.Corrupt) {
			t.Errorf("a changed byte: %v", err)
		}
		if _, err := postgres.ReplaceableInvalidControl(bad); !fault.Is(err, fault.Corrupt) {
			t.Errorf("a changed byte: %v", err)
		}
	})
}

func FuzzParseControl(f *testing.F) {
	f.Add(make([]byte, 8192))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = postgres.ParseControl(b) })
}
