// Package test runs the whole product from outside, as a user would.
package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

const (
	docPath     = "docs/temporal-cli.md"
	docSource   = "postgresql://smartdr@db.east:5432/postgres"
	docPassword = "/etc/smartdr/main.password"
)

// TestTemporalCLI runs the commands of docs/temporal-cli.md, section by section, as they stand there. The server's address
// and the names of the regions are those of the test.
func TestTemporalCLI(t *testing.T) {
	t.Parallel()
	doc := readDoc(t, docPath)
	env := startEnv(t)
	r := runner{t: t, env: env, sections: sections(doc)}

	r.run("Create a group")
	r.run("Add a workspace")
	r.run("Configure replication")
	r.inSync()
	r.run("Status")
	for _, section := range []string{"Change a workspace", "Change the firewall", "Have a region fence itself", "Try the hooks", "Choose databases", "Suspend and resume", "Terminate"} {
		r.run(section)
	}
	r.protected(devenv.Primary)
	r.run("Keep standbys")
	// Where the writes of a server end is known with a superuser alone.
	if err := env.Server.Exec(t.Context(), "postgres", "alter role "+devenv.ReplicationRole+" superuser"); err != nil {
		t.Fatal(err)
	}
	r.run("Switch over")
	r.protected(devenv.Secondary)
	r.run("Fail back")
	r.protected(devenv.Primary)
	if list := r.run("List"); !strings.Contains(list, workflows.ReplicationID("prod")) {
		t.Errorf("the list does not name the group's Replication:\n%s", list)
	}
	if out, err := r.try("Fail over"); err == nil || !strings.Contains(out, "alive") {
		t.Errorf("a failover of a region that is alive was not refused: %v\n%s", err, out)
	}
	if err := env.KillRegion(t.Context(), devenv.Primary); err != nil {
		t.Fatal(err)
	}
	r.run("Fail over")
	r.checkServing()
}

func someData(ctx context.Context, p *devenv.Postgres) error {
	if err := p.Exec(ctx, "postgres", "create database app", "create database scratch"); err != nil {
		return err
	}
	return p.Exec(ctx, "app", "create table kept (n int)", "insert into kept select generate_series(1, 1000)")
}

type runner struct {
	t        *testing.T
	env      *devenv.Env
	sections map[string]string // shell commands by heading
}

// run runs a section's commands and returns what they print.
func (r runner) run(section string) string {
	r.t.Helper()
	out, err := r.try(section)
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", section, err, out)
	}
	return out
}

func (r runner) try(section string) (string, error) {
	r.t.Helper()
	commands, ok := r.sections[section]
	if !ok {
		r.t.Fatalf("%s has no commands under %q", docPath, section)
	}
	return r.shell(strings.NewReplacer(
		docSource, r.source().Connection, docPassword, r.source().PasswordFile,
		`"primary":"east"`, fmt.Sprintf(`"primary":%q`, devenv.Primary), `"secondary":"west"`, fmt.Sprintf(`"secondary":%q`, devenv.Secondary),
	).Replace(commands))
}

func (r runner) shell(commands string) (string, error) {
	r.t.Helper()
	temporal, err := devenv.Tool("temporal")
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), devtest.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-eu", "-c", commands)
	cmd.Env = append(os.Environ(), "TEMPORAL_ADDRESS="+r.env.Temporal.Addr(), "PATH="+filepath.Dir(temporal)+":"+os.Getenv("PATH"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // a child that outlives its shell would hold the pipe
	err = cmd.Run()
	return out.String(), err
}

// inSync waits until the update that the document names says that every database is Active.
func (r runner) inSync() {
	r.t.Helper()
	c, err := r.env.Temporal.Dial(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	devtest.Until(r.t, "every database is Active", func() bool {
		v, err := c.QueryWorkflow(r.t.Context(), workflows.ReplicationID("prod"), "", workflows.StatusQuery)
		var st topology.GroupStatus
		if err != nil || v.Get(&st) != nil || len(st.Workspaces) == 0 || len(st.Workspaces[0].Databases) == 0 {
			return false
		}
		for _, d := range st.Workspaces[0].Databases {
			if d.State != topology.Active {
				return false
			}
		}
		return true
	})
}

// protected waits until the region serves and the other one could take over.
func (r runner) protected(serving string) {
	r.t.Helper()
	c, err := r.env.Temporal.Dial(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	var st topology.GroupStatus
	devtest.Until(r.t, "the group is protected, served from "+serving, func() bool {
		v, err := c.QueryWorkflow(r.t.Context(), workflows.ReplicationID("prod"), "", workflows.StatusQuery)
		if err != nil || v.Get(&st) != nil || st.Protection == nil {
			return false
		}
		return st.Group.Active == serving && st.Protection.Protected && st.Protection.Epoch == st.Group.Epoch
	})
}

// checkServing connects to the endpoint that the failover published and counts the rows that were there before.
func (r runner) checkServing() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), devtest.Patience)
	defer cancel()
	op := r.outcome(ctx)
	if op.State != topology.OperationCompleted || len(op.Workspaces) != 1 || len(op.Workspaces[0].Endpoint.Hosts) == 0 {
		r.t.Fatalf("the failover's account: %+v", op)
	}
	password, err := os.ReadFile(r.env.Server.PasswordFile)
	if err != nil {
		r.t.Fatal(err)
	}
	at := op.Workspaces[0].Endpoint.Hosts[0]
	url := fmt.Sprintf("postgresql://%s@%s:%d/app", r.env.Server.Superuser, at.Host, at.Port)
	conn, err := devenv.Connect(ctx, url, strings.TrimSpace(string(password)))
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	var rows int
	if err := conn.QueryRow(ctx, "select count(*) from kept").Scan(&rows); err != nil || rows != 1000 {
		r.t.Errorf("%d rows, want 1000; %v", rows, err)
	}
	if _, err := conn.Exec(ctx, "insert into kept values (1001)"); err != nil {
		r.t.Errorf("the restored server takes no writes: %v", err)
	}
}

func (r runner) outcome(ctx context.Context) topology.Operation {
	r.t.Helper()
	c, err := r.env.Temporal.Dial(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	var result workflows.FailoverResult
	if err := c.GetWorkflow(ctx, workflows.FailoverID("prod"), "").Get(ctx, &result); err != nil {
		r.t.Fatal(err)
	}
	return result.Operation
}

func (r runner) source() api.WorkspaceSpec {
	r.t.Helper()
	b, err := os.ReadFile(r.env.GroupPath())
	if err != nil {
		r.t.Fatal(err)
	}
	spec, err := api.ParseGroupSpec(r.env.GroupPath(), b)
	if err != nil {
		r.t.Fatal(err)
	}
	return spec.Workspaces[0]
}

func readDoc(t *testing.T, path string) string {
	t.Helper()
	root, err := devenv.Root()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sections returns the ```sh blocks of a Markdown text by the heading that they stand under.
func sections(doc string) map[string]string {
	blocks, heading, inside := map[string]string{}, "", false
	for line := range strings.Lines(doc) {
		trimmed := strings.TrimSpace(line)
		switch {
		case inside && trimmed == "```":
			inside = false
		case inside:
			blocks[heading] += line
		case trimmed == "```sh":
			inside = true
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
		}
	}
	return blocks
}

// TestREADMESaysWhatIsTested: a line for Temporal's CLI in the README stands in the document whose lines are run.
func TestREADMESaysWhatIsTested(t *testing.T) {
	root, err := devenv.Root()
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("there is no README yet")
	} else if err != nil {
		t.Fatal(err)
	}
	tested := map[string]bool{}
	for _, commands := range sections(readDoc(t, docPath)) {
		for _, c := range temporalCommands(commands) {
			tested[c] = true
		}
	}
	if len(tested) < 6 {
		t.Errorf("%s holds %d commands only", docPath, len(tested))
	}
	for _, commands := range sections(string(readme)) {
		for _, c := range temporalCommands(commands) {
			if !tested[c] {
				t.Errorf("README.md has a command that no test runs; put it into %s or make it the same:\n%s", docPath, c)
			}
		}
	}
}

// temporalCommands returns the commands that begin with "temporal workflow", each on one line.
func temporalCommands(shell string) (all []string) {
	for line := range strings.Lines(strings.ReplaceAll(shell, "\\\n", " ")) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "temporal" && words[1] == "workflow" {
			all = append(all, strings.Join(words, " "))
		}
	}
	return all
}
