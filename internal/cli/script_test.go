package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/smartdr/smartdr/internal/cli"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"smartdr": func() { os.Exit(cli.Main(os.Args[1:], cli.Process())) },
	})
}

// TestScripts runs testdata/script/*.txtar: the command line as its own process, against two real object stores and a
// real Temporal. In the scripts `code N command ...` runs a command that must end with exit code N, and
// `seed GROUP STATE` writes a group into the buckets as replication would have left it, and `hosts` what two hosts announce.
func TestScripts(t *testing.T) {
	w := startWorld(t)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		UpdateScripts:       os.Getenv("UPDATE") != "",
		RequireExplicitExec: true,
		Setup:               w.setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":  code,
			"seed":  w.seed,
			"hosts": w.hosts,
		},
	})
}

// world is what the scripts run against.
type world struct {
	gateways map[string]*devenv.Gateway // by region
	temporal *devenv.Temporal
}

func startWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		gateways: map[string]*devenv.Gateway{"east": devtest.Gateway(t), "west": devtest.Gateway(t)},
		temporal: devtest.Temporal(t),
	}
	startCanned(t, w.temporal.Addr())
	return w
}

const configText = `temporal:
  address: %s
regions:
  east:
    bucket: %s
    endpoint: %s
    pathStyle: true
    prefix: %q
    credentials: {accessKeyEnv: EAST_KEY, secretKeyEnv: EAST_SECRET}
  west:
    bucket: %s
    endpoint: %s
    pathStyle: true
    prefix: %q
    credentials: {accessKeyEnv: WEST_KEY, secretKeyEnv: WEST_SECRET}
`

// northText is a region whose bucket never answers.
const northText = `  north:
    bucket: nowhere
    endpoint: http://127.0.0.1:9
    pathStyle: true
    credentials: {accessKeyEnv: EAST_KEY, secretKeyEnv: EAST_SECRET}
`

// setup gives each script a configuration, with a prefix of its own in both buckets. smartdr.yaml has a Temporal that
// does not answer, temporal.yaml one that does, missing.yaml one whose comparisons have a known outcome, north.yaml a third region whose
// bucket is lost.
func (w *world) setup(e *testscript.Env) error {
	prefix := prefixOf(e.WorkDir)
	for region, upper := range map[string]string{"east": "EAST", "west": "WEST"} {
		s3 := w.gateways[region].S3Config()
		e.Setenv(upper+"_KEY", s3.AccessKey)
		e.Setenv(upper+"_SECRET", s3.SecretKey)
	}
	e.Setenv("HOME", e.WorkDir)
	east, west := w.gateways["east"].S3Config(), w.gateways["west"].S3Config()
	text := func(address string) string {
		return fmt.Sprintf(configText, address, east.Bucket, east.Endpoint, prefix, west.Bucket, west.Endpoint, prefix)
	}
	for file, text := range map[string]string{
		"smartdr.yaml": text("127.0.0.1:9"), "temporal.yaml": text(w.temporal.Addr()),
		"missing.yaml": inMissing(text(w.temporal.Addr())), "north.yaml": text("127.0.0.1:9") + northText,
	} {
		if err := os.WriteFile(filepath.Join(e.WorkDir, file), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// prefixOf is what a script puts before its keys.
func prefixOf(workDir string) string { return filepath.Base(workDir) + "/" }

// code runs a command that must end with a given exit code.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command ...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := err.(interface{ ExitCode() int }); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
