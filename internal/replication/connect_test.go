package replication_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

func TestCommands(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		ctx := devtest.Context(t)
		s := postgrestest.Start(t, bin, map[string]string{"max_replication_slots": "1"})
		c := connect(t, s)
		system, err := c.IdentifySystem(ctx)
		postgrestest.Check(t, err)
		control, err := s.ControlData(ctx)
		postgrestest.Check(t, err)
		if system.ID != control.SystemID || system.Position.Timeline != 1 || system.InRecovery {
			t.Errorf("IdentifySystem: %+v; pg_control: %+v", system, control)
		}
		if size, err := c.SegmentSize(ctx); err != nil || size != wal.DefaultSegmentSize {
			t.Errorf("SegmentSize: %d, %v", size, err)
		}
		if c.ServerVersion() != bin.Version {
			t.Errorf("ServerVersion: %d, want %d", c.ServerVersion(), bin.Version)
		}
		if _, err := c.TimelineHistory(ctx, 1); !fault.Is(err, fault.Missing) {
			t.Errorf("history of timeline 1: %v", err)
		}
		slotLife(ctx, t, c)
	})
}

func slotLife(ctx context.Context, t *testing.T, c *replication.Conn) {
	t.Helper()
	if slot, err := c.ReadSlot(ctx, "dr"); err != nil || slot != (replication.Slot{}) {
		t.Errorf("a slot that is not there: %+v, %v", slot, err)
	}
	postgrestest.Check(t, c.CreateSlot(ctx, "dr"))
	slot, err := c.ReadSlot(ctx, "dr")
	if err != nil || !slot.Exists || slot.RestartLSN == 0 || slot.RestartTimeline != 1 {
		t.Errorf("a slot with WAL reserved: %+v, %v", slot, err)
	}
	refused(t, "create again", c.CreateSlot(ctx, "dr"), fault.Conflict)
	refused(t, "create one too many", c.CreateSlot(ctx, "more"), fault.Invalid)
	refused(t, "a bad name", c.CreateSlot(ctx, "x; DROP"), fault.Invalid)
	refused(t, "drop another", c.DropSlot(ctx, "other"), fault.Missing)
	postgrestest.Check(t, c.DropSlot(ctx, "dr"))
	_, err = c.StartPhysical(ctx, "dr", wal.Position{Timeline: 1, LSN: slot.RestartLSN})
	refused(t, "stream without the slot", err, fault.Missing)
}

func refused(t *testing.T, what string, err error, want fault.Kind) {
	t.Helper()
	if !fault.Is(err, want) {
		t.Errorf("%s: want %s, got %v", what, want, err)
	}
}

func TestTargetSessionAttrs(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		primary := postgrestest.Start(t, bin, nil)
		standby := postgrestest.StartStandby(t, primary)
		both := []int{standby.Port, primary.Port}
		for _, c := range []struct {
			attrs      string
			ports      []int
			inRecovery bool
			refused    bool
		}{
			{"any", both, true, false}, {"read-write", both, false, false}, {"primary", both, false, false},
			{"read-only", []int{primary.Port, standby.Port}, true, false},
			{"standby", []int{primary.Port, standby.Port}, true, false},
			{"prefer-standby", []int{primary.Port, standby.Port}, true, false},
			{"prefer-standby", []int{primary.Port}, false, false},
			{"read-write", []int{standby.Port}, false, true}, {"primary", []int{standby.Port}, false, true}, {"standby", []int{primary.Port}, false, true},
			{"read-write", []int{postgrestest.FreePort(t), primary.Port}, false, false},
		} {
			name := fmt.Sprintf("%s of %d hosts", c.attrs, len(c.ports))
			conn, err := replication.Connect(devtest.Context(t), multiHost(c.ports, c.attrs), appName)
			if c.refused {
				if !fault.Is(err, fault.Transient) {
					t.Errorf("%s: want a Transient refusal, got %v", name, err)
				}
				continue
			}
			postgrestest.Check(t, err)
			system, err := conn.IdentifySystem(t.Context())
			if err != nil || system.InRecovery != c.inRecovery {
				t.Errorf("%s: %+v, %v", name, system, err)
			}
			postgrestest.Check(t, conn.Close(t.Context()))
		}
	})
}

func multiHost(ports []int, attrs string) topology.Source {
	var hosts, list []string
	for _, p := range ports {
		hosts, list = append(hosts, "127.0.0.1"), append(list, strconv.Itoa(p))
	}
	return topology.Source{ConnString: fmt.Sprintf("host=%s port=%s user=postgres sslmode=disable target_session_attrs=%s",
		strings.Join(hosts, ","), strings.Join(list, ","), attrs)}
}

func TestConnectRefusals(t *testing.T) {
	s := postgrestest.Start(t, postgrestest.Installations(t)[0], map[string]string{"max_wal_senders": "1"})
	postgrestest.Exec(t, s, "postgres", "CREATE ROLE plain LOGIN; CREATE ROLE closed LOGIN REPLICATION PASSWORD 'right'")
	postgrestest.Check(t, s.WriteHBA("host all,replication closed 127.0.0.1/32 scram-sha-256\nhost replication nohba 127.0.0.1/32 reject\n"+postgrestest.TrustLocal))
	postgrestest.Check(t, s.Reload(t.Context()))
	t.Setenv("WRONG", "hunter2")
	nobody := *s
	nobody.Port = postgrestest.FreePort(t)
	wrong := postgrestest.Source(s, "closed", "postgres")
	wrong.PasswordEnv = "WRONG"
	for name, c := range map[string]struct {
		src  topology.Source
		kind fault.Kind
		hint string
	}{
		"no privilege":    {postgrestest.Source(s, "plain", "postgres"), fault.Invalid, "REPLICATION"},
		"wrong password":  {wrong, fault.Invalid, "password"},
		"no such role":    {postgrestest.Source(s, "ghost", "postgres"), fault.Invalid, "role"},
		"rejected by hba": {postgrestest.Source(s, "nohba", "postgres"), fault.Invalid, "pg_hba.conf"},
		"nobody listens":  {postgrestest.Source(&nobody, "postgres", "postgres"), fault.Transient, "runs"},
	} {
		var err error
		devtest.Until(t, "the one before to have left the only walsender", func() bool {
			_, err = replication.Connect(devtest.Context(t), c.src, appName)
			return !strings.Contains(fault.HintOf(err), "max_wal_senders")
		})
		if !fault.Is(err, c.kind) || !strings.Contains(fault.HintOf(err), c.hint) {
			t.Errorf("%s: %v (%s), hint %q", name, err, fault.KindOf(err), fault.HintOf(err))
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the password is in the error: %v", name, err)
		}
	}
	devtest.Until(t, "the refused ones have left", func() bool {
		c, err := replication.Connect(t.Context(), postgrestest.Source(s, "postgres", "postgres"), appName)
		if err == nil {
			t.Cleanup(func() { _ = c.Close(context.Background()) })
		}
		return err == nil
	})
	if _, err := replication.Connect(devtest.Context(t), postgrestest.Source(s, "postgres", "postgres"), appName); !fault.Is(err, fault.Transient) || !strings.Contains(fault.HintOf(err), "max_wal_senders") {
		t.Errorf("no free walsender: %v, hint %q", err, fault.HintOf(err))
	}
}
