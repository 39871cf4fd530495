// Package devtest starts real servers for tests and ends them with the test.
package devtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest/scratch"
)

// Dir returns an empty folder that is removed after the test, and that other accounts can enter: as root, PostgreSQL
// runs as one of these, and what testing.TB.TempDir makes is closed to them. Its path is short, for sockets.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(scratch.Dir(t), "sdr")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the test's folder: %v", err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Gateway starts an object store with an empty bucket.
func Gateway(t testing.TB) *devenv.Gateway {
	t.Helper()
	g, err := devenv.StartGateway(t.Context(), devenv.GatewayOptions{Dir: Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	end(t, g.Process)
	return g
}

// Store starts an object store and returns an empty Store in it, without retries.
func Store(t testing.TB) objectstore.Store {
	t.Helper()
	return Open(t, Gateway(t))
}

// Open returns the Store in g, without retries.
func Open(t testing.TB, g *devenv.Gateway) *objectstore.S3 {
	t.Helper()
	s, err := objectstore.NewS3(t.Context(), g.S3Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Temporal starts a Temporal server without web UI.
func Temporal(t testing.TB) *devenv.Temporal {
	t.Helper()
	s, err := devenv.StartTemporal(t.Context(), devenv.TemporalOptions{Dir: Dir(t), NoUI: true})
	if err != nil {
		t.Fatal(err)
	}
	end(t, s.Process)
	return s
}

// Postgres starts a server. Fields of opts that are not set get their defaults; Dir too.
func Postgres(t testing.TB, opts devenv.PostgresOptions) *devenv.Postgres {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = filepath.Join(Dir(t), "pg")
	}
	p, err := devenv.StartPostgres(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		if err := p.Kill(ctx); err != nil {
			t.Error(err)
		}
		if b, err := os.ReadFile(p.LogFile); t.Failed() && err == nil {
			t.Logf("%s ends with:\n%s", p.LogFile, b[max(0, len(b)-2048):])
		}
	})
	return p
}

// EachMajor runs a test once for each PostgreSQL major of devenv.Majors.
func EachMajor(t *testing.T, run func(t *testing.T, major int)) {
	t.Helper()
	majors, err := devenv.Majors()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range majors {
		t.Run(fmt.Sprintf("PostgreSQL %d", m), func(t *testing.T) { run(t, m) })
	}
}

// end kills p after the test, and shows the end of its log if the test failed.
func end(t testing.TB, p *devenv.Process) {
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("%s ends with:\n%s", p.LogFile(), p.LogTail())
		}
	})
}

// Context returns t's context, which ends after Patience: for calls that wait for what is due within seconds.
func Context(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// Until waits until cond is true, and fails the test when that takes longer than Patience: a wait that succeeds costs nothing by being
// patient. It looks every few milliseconds, or, where a look is dear, as with a command that is run, so that what is waited for has most
// of the machine.
func Until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	until(t, Patience, what, cond)
}

// UntilOver is Until for the end of a whole operation, as of a failover whose steps are killed: three times as patient.
func UntilOver(t testing.TB, what string, cond func() bool) {
	t.Helper()
	until(t, 3*Patience, what, cond)
}

func until(t testing.TB, patience time.Duration, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		began := time.Now()
		if cond() {
			return
		}
		if began.After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(min(max(5*time.Millisecond, 2*time.Since(began)), time.Second))
	}
}
