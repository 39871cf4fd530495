package render

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

var update = flag.Bool("update", false, "write the golden files anew")

var now = time.Date(2026, 11, 22, 22, 10, 30, 0, time.UTC)

func before(d time.Duration) time.Time { return now.Add(-d) }

func group() topology.Group {
	return topology.Group{
		Name: "prod", Primary: "east", Secondary: "west", Active: "east", Authority: "west", Epoch: 1, SmartDR: true, CreatedAt: before(48 * time.Hour),
		Replication: &topology.Replication{Databases: []string{"app", "billing"}},
		Workspaces: []topology.Workspace{{
			Name: "main", Lineage: "0001-89abcdef",
			Sites: map[string]topology.Site{"east": {Kind: topology.Adopted, Endpoint: topology.Endpoint{Hosts: []topology.HostPort{{Host: "db.east", Port: 5432}}}}},
		}},
	}
}

func point(lsn wal.LSN) topology.RecoveryPoint {
	return topology.RecoveryPoint{
		Lineage: "0001-89abcdef", At: wal.Position{Timeline: 1, LSN: lsn}, RecordEnd: lsn - 8,
		LastCommit: before(3 * time.Second), AsOf: before(2 * time.Second),
	}
}

func status() topology.GroupStatus {
	safe := int64(1 << 30)
	return topology.GroupStatus{
		Group: group(), ReadAt: now, ReadFrom: []string{"east", "west"},
		Workspaces: []topology.WorkspaceStatus{{
			Workspace: "main",
			WAL: &topology.WALProgress{
				Lineage: "0001-89abcdef", MeasuredAt: before(time.Second), Server: wal.Position{Timeline: 1, LSN: 0x5a4f300},
				Slot: topology.SlotState{Name: "smartdr", WALStatus: "extended", SafeWALSize: &safe},
				Cursors: []topology.Cursor{
					{Region: "east", Point: point(0x5a4f300), Mode: "live", BytesSent: 12_345_678},
					{Region: "west", Point: point(0x5a3f210), LagBytes: 65776, LagSeconds: 0.83, Mode: "catching up", BytesSent: 12_300_000, Error: "503 Slow Down"},
				},
			},
			Databases: []topology.DatabaseStatus{
				{Workspace: "main", Database: "app", Region: "west", State: topology.Active, Percent: 100, Lag: topology.Lag{Seconds: 0.83, Bytes: 65776, LSN: 0x5a3f210, MeasuredAt: before(time.Second)}},
				{Workspace: "main", Database: "billing", Region: "west", State: topology.Pending, Percent: 43.7},
				{Workspace: "main", Database: "büro", Region: "west", State: topology.Error, Percent: 100, Reason: "the slot is lost", Lag: topology.Lag{Seconds: 7265, Bytes: 1 << 31, LSN: 0x5a3f210, MeasuredAt: before(61 * time.Minute)}},
			},
		}},
	}
}

func operation() topology.Operation {
	return topology.Operation{
		ID: "0198c9f2-7c1e-7d3f-a3c4-6a52e1b8a001", Kind: "Failover", Group: "prod", Epoch: 2, State: topology.OperationCompleted,
		From: "east", To: "west", StartedAt: before(20 * time.Second), EndedAt: before(4500 * time.Millisecond),
		Phases: []topology.Phase{
			{Name: "Plan", StartedAt: before(20 * time.Second), EndedAt: before(19400 * time.Millisecond), Note: "main: recovery point 0/5A3F208"},
			{Name: "Restore snapshot", Workspace: "main", StartedAt: before(19 * time.Second), EndedAt: before(9 * time.Second), Note: "1.2 GB in 340 files"},
			{Name: "Publish", StartedAt: before(5 * time.Second), EndedAt: before(4500 * time.Millisecond)},
		},
		Workspaces: []topology.Recovered{{
			Workspace: "main", Point: point(0x5a3f210), Lineage: "0002-01234567", Databases: []string{"app", "billing"},
			Endpoint: topology.Endpoint{Hosts: []topology.HostPort{{Host: "10.0.0.7", Port: 6000}}}, Notes: []string{"shared_buffers is 128MB here", "needs attention: slot feed is not here"},
		}},
	}
}

func failed() topology.Operation {
	op := operation()
	op.State, op.Workspaces = topology.OperationFailed, nil
	op.Phases[1].Error = "chunk 3f is not what was written"
	op.Phases = op.Phases[:2]
	op.Error, op.Hint = "chunk 3f is not what was written", "Restore it from the other bucket."
	return op
}

func running() topology.Operation {
	op := operation()
	op.State, op.EndedAt, op.Workspaces = topology.OperationActive, time.Time{}, nil
	op.Phases = op.Phases[:2]
	op.Phases[1].EndedAt, op.Phases[1].Note = time.Time{}, "43%"
	return op
}

func previewOf(alive bool) api.FailoverPreview {
	p := api.FailoverPreview{
		Group: "prod", From: "east", To: "west", Alive: alive, Evidence: "nothing has been heard from east for 40s", Ready: true,
		Workspaces: []api.WorkspacePreview{{
			Workspace: "main", Ready: true, Databases: []string{"app", "billing"}, Point: point(0x5a3f210),
			LagSeconds: 0.83, LagBytes: 65776, MeasuredAt: before(40 * time.Second),
		}},
	}
	if alive {
		p.Evidence, p.Ready, p.Problem, p.Workspaces[0].Ready = "east shipped WAL 1s ago and its bucket answers", false, "the first snapshot of workspace main is not complete in west", false
	}
	return p
}

func TestGolden(t *testing.T) {
	busy := status()
	busy.Group.Operation = &topology.OperationRef{ID: "op1", Kind: "Failover", StartedAt: before(3 * time.Second)}
	busy.Silent = map[string]string{"west": "connection refused", "east": "i/o timeout"}
	bare := status()
	bare.Group.Replication, bare.Group.Secondary, bare.Workspaces = nil, "", nil
	three := 3
	pipe, tty := Style{}, Style{Colour: true, Bars: true}
	for name, got := range map[string]string{
		"status":         Status(status(), now, pipe),
		"status_tty":     Status(status(), now, tty),
		"status_busy":    Status(busy, now, pipe),
		"status_bare":    Status(bare, now, pipe),
		"operations":     Operations([]topology.Operation{running(), failed(), operation()}, now, pipe),
		"no_operations":  Operations(nil, now, pipe),
		"operation":      Operation(operation(), now, pipe),
		"operation_tty":  Operation(running(), now, tty),
		"failed":         Operation(failed(), now, pipe),
		"preview":        Preview(previewOf(false), now, pipe),
		"preview_unsafe": Preview(previewOf(true), now, pipe),
		"group":          Group(group(), pipe),
		"group_mixed":    Group(mixed(), pipe),
		"status_mixed":   Status(mixedStatus(), now, pipe),
		"status_half":    Status(halfOver(), now, pipe),
		"status_over":    Status(over(), now, pipe),
		"workspaces":     Workspaces(standings(mixed()), pipe),
		"workspaces_tty": Workspaces(standings(halfOver().Group), tty),
		"workspace":      Workspace(standings(mixed())[1], pipe),
		"no_workspaces":  Workspaces(nil, pipe),
		"termination":    Termination(termination(), pipe),
		"hosts":          Hosts(hostList(), now, pipe),
		"no_hosts":       Hosts(api.Hosts{Silent: map[string]string{"west": "connection refused"}}, now, pipe),
		"groups":         Groups(api.Groups{Groups: []topology.Group{group(), busy.Group, bare.Group}}, pipe),
		"regions": Regions([]api.Region{
			{Name: "east", Provider: "AWS", Bucket: "dr-east", Reachable: true, Workers: &three},
			{Name: "west", Bucket: "dr-west", Endpoint: "http://127.0.0.1:9", Error: "connection refused"},
		}, pipe),
		"databases": Databases([]api.Database{
			{Workspace: "main", Name: "app", Kind: topology.AttachedKind, Replicated: true, SizeBytes: 7 << 20, State: topology.Active},
			{Workspace: "main", Name: "scratch", Kind: topology.AttachedKind, SizeBytes: 1023},
		}, pipe),
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, got) })
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got); go test -update if it is meant:\n%s", path, diff)
	}
}

func TestUnits(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Bytes(0), "0 B"}, {Bytes(1023), "1023 B"}, {Bytes(1024), "1.0 KiB"}, {Bytes(1<<20 - 1), "1.0 MiB"}, {Bytes(5 << 40), "5.0 TiB"},
		{Duration(-time.Second), "0.0 s"}, {Duration(0), "0.0 s"}, {Duration(9940 * time.Millisecond), "9.9 s"}, {Duration(9960 * time.Millisecond), "10 s"},
		{Duration(59600 * time.Millisecond), "1 m 00 s"}, {Duration(185 * time.Second), "3 m 05 s"}, {Duration(130 * time.Minute), "2 h 10 m"},
		{Duration(73 * time.Hour), "3 d 01 h"}, {Ago(time.Time{}, now), "-"}, {Moment(time.Time{}), "-"},
		{Percent(99.99), "99%"}, {Percent(100), "100%"}, {Percent(-1), "0%"},
		{bar(0), "░░░░░░░░░░"}, {bar(100), "██████████"}, {bar(50), "█████░░░░░"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestALineIsWorthPrintingWhenTheStateChanges(t *testing.T) {
	d := topology.DatabaseStatus{State: topology.Pending, Percent: 41}
	later, tenth, active := d, d, d
	later.Percent, tenth.Percent, active.State = 49, 50, topology.Active
	later.Lag.Seconds = 3
	if DatabaseKey(d) != DatabaseKey(later) {
		t.Error("a line is printed for every percent")
	}
	if DatabaseKey(d) == DatabaseKey(tenth) || DatabaseKey(d) == DatabaseKey(active) {
		t.Error("a line is missing for a tenth or for a new state")
	}
}

func TestAPhaseIsWorthALineForEachTenth(t *testing.T) {
	open := topology.Phase{Name: "Restore snapshot"}
	at := func(note string) string { p := open; p.Note = note; return PhaseKey(p) }
	ended := open
	ended.EndedAt = now
	if at("41%") != at("49%") || at("49%") == at("50%") || at("") == at("7%") || PhaseKey(ended) == at("100%") {
		t.Errorf("keys: %q %q %q %q %q", at(""), at("41%"), at("49%"), at("50%"), PhaseKey(ended))
	}
}
