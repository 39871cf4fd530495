package devenv_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("DEVENV_TEST_PARENT"); dir != "" {
		beParent(dir)
	}
	os.Exit(m.Run())
}

// beParent is a process that starts a gateway, says its pid, and waits to be killed.
func beParent(dir string) {
	g, err := devenv.StartGateway(context.Background(), devenv.GatewayOptions{Dir: dir})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(g.PID())
	select {}
}

func TestProcessesDieWithAKilledParent(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), "DEVENV_TEST_PARENT="+devtest.Dir(t))
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(line, &pid); err != nil {
		t.Fatalf("the parent says %q", line)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("the gateway does not run: %v", err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed
	devtest.Until(t, "the gateway ends with its parent", func() bool { return !devenv.Alive(pid) })
}

func TestGatewayKeepsItsObjectsOverKill(t *testing.T) {
	g := devtest.Gateway(t)
	s := devtest.Open(t, g)
	for i := range 3 {
		if _, err := s.Put(t.Context(), fmt.Sprint("k", i), []byte("x"), objectstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		before := g.PID()
		if err := g.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if g.PID() == before {
			t.Fatal("it was not restarted")
		}
	}
	for i := range 3 {
		if _, _, err := s.Get(t.Context(), fmt.Sprint("k", i)); err != nil {
			t.Error(err)
		}
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", g.PID()))
	if err == nil && strings.Contains(string(cmdline), g.S3Config().SecretKey) {
		t.Error("the secret is in the process's arguments")
	}
}

func TestAServerThatCannotStartSaysWhy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // takes connections and says nothing
	_, err = devenv.StartGateway(t.Context(), devenv.GatewayOptions{Dir: devtest.Dir(t), Port: l.Addr().(*net.TCPAddr).Port})
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v, want the log's last words", err)
	}
}

func TestPortsAreGivenOnce(t *testing.T) {
	var mu sync.Mutex
	seen := map[int]bool{}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			p, err := devenv.FreePort()
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if seen[p] {
				t.Errorf("%d was given twice", p)
			}
			seen[p] = true
		})
	}
	wg.Wait()
}

func TestTemporalKeepsItsWorkflowsOverKill(t *testing.T) {
	s := devtest.Temporal(t)
	group := temporal.NewSearchAttributeKeyKeyword("SmartDRGroup")
	start := func(id string) error {
		c, err := s.Dial(t.Context())
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: "q", TypedSearchAttributes: temporal.NewSearchAttributes(group.ValueSet("prod"))}, "Nothing")
		return err
	}
	if err := start("one"); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.DescribeWorkflowExecution(t.Context(), "one", ""); err != nil {
		t.Errorf("the workflow from before is gone: %v", err)
	}
	if err := start("two"); err != nil {
		t.Error(err)
	}
}

func TestToolSaysWhatToRun(t *testing.T) {
	t.Setenv("SMARTDR_ROOT", t.TempDir())
	t.Setenv("PATH", t.TempDir())
	_, err := devenv.Tool("versitygw")
	if err == nil || !strings.Contains(err.Error(), filepath.Join(".tools", "bin")) {
		t.Errorf("got %v", err)
	}
}

func TestPostgresKeepsItsDataOverKill(t *testing.T) {
	devtest.EachMajor(t, func(t *testing.T, major int) {
		p := devtest.Postgres(t, devenv.PostgresOptions{Major: major})
		if err := p.Exec(t.Context(), "postgres", "create table t (i int)", "insert into t values (42)"); err != nil {
			t.Fatal(err)
		}
		if err := p.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		conn, err := postgres.Open(t.Context(), p.RemoteSource("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		var got, version int
		if err := conn.QueryRow(t.Context(), "select i, current_setting('server_version_num')::int / 10000 from t").Scan(&got, &version); err != nil {
			t.Fatal(err)
		}
		if got != 42 || version != major {
			t.Errorf("got %d from PostgreSQL %d", got, version)
		}
		if _, err := devenv.Connect(t.Context(), p.URL("postgres", "postgres"), "guess"); err == nil {
			t.Error("a wrong password is let in")
		}
	})
}
