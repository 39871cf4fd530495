package telemetry

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/smartdr/smartdr/internal/topology"
)

// scrape returns what Prometheus would read.
func scrape(m *Metrics) string {
	r := httptest.NewRecorder()
	promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}).ServeHTTP(r, httptest.NewRequest("GET", "/metrics", nil))
	return r.Body.String()
}

func TestPrometheusSeesReadiness(t *testing.T) {
	m, err := NewMetrics()
	if err != nil {
		t.Fatal(err)
	}
	r := topology.Readiness{Group: "prod", CheckedAt: time.Unix(1_700_000_000, 0), Drift: make([]topology.DriftItem, 3), Items: []topology.ReadinessItem{
		{State: topology.ReadinessBlocking}, {State: topology.ReadinessOK}, {State: topology.ReadinessOK},
	}}
	m.Readiness(r)
	r.Items = r.Items[1:]
	m.Readiness(r)
	got := scrape(m)
	for _, want := range []string{
		`smartdr_readiness_items{group="prod",state="ok"} 2`, `smartdr_readiness_items{group="prod",state="blocking"} 0`,
		`smartdr_readiness_items{group="prod",state="warning"} 0`, `smartdr_readiness_checked_timestamp_seconds{group="prod"} 1.7e+09`,
		`smartdr_readiness_drift_items{group="prod"} 3`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no line %q in\n%s", want, got)
		}
	}
	var none *Metrics
	none.Readiness(r)
}
