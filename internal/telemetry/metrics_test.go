package telemetry

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

func TestPrometheusSeesWhatAShipperAnnounced(t *testing.T) {
	m, err := NewMetrics()
	if err != nil {
		t.Fatal(err)
	}
	safe := int64(4096)
	m.WAL("prod", "main", topology.WALProgress{
		MeasuredAt: time.UnixMilli(1_700_000_000_500), Slot: topology.SlotState{SafeWALSize: &safe},
		Cursors: []topology.Cursor{{Region: "east", LagBytes: 512, LagSeconds: 1.5, Point: topology.RecoveryPoint{At: wal.Position{Timeline: 1, LSN: 0x1000}}}},
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	if err := m.Serve(t.Context(), addr); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`smartdr_lag_seconds{group="prod",region="east",workspace="main"} 1.5`,
		`smartdr_lag_bytes{group="prod",region="east",workspace="main"} 512`,
		`smartdr_recovery_point_lsn{group="prod",region="east",workspace="main"} 4096`,
		`smartdr_slot_safe_wal_bytes{group="prod",workspace="main"} 4096`,
		`smartdr_measured_timestamp_seconds{group="prod",workspace="main"} 1.7000000005e+09`,
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no line %q in\n%s", want, body)
		}
	}
}

func TestNilMetricsTakeAnything(t *testing.T) {
	var m *Metrics
	m.WAL("prod", "main", topology.WALProgress{})
}
