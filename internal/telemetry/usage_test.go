package telemetry

import (
	"strings"
	"testing"

	"github.com/smartdr/smartdr/internal/topology"
)

type counts map[string]map[string]topology.Requests

func (c counts) Groups() (names []string) {
	for name := range c {
		names = append(names, name)
	}
	return names
}

func (c counts) Totals(group string) map[string]topology.Requests { return c[group] }

func TestPrometheusSeesWhatIsAskedOfTheBuckets(t *testing.T) {
	m, err := NewMetrics()
	if err != nil {
		t.Fatal(err)
	}
	m.Usage(counts{"prod": {"west": {Gets: 1, Puts: 2, Lists: 3, Errors: 4, BytesIn: 5, BytesOut: 6}}})
	m.Stored("prod", []topology.Stored{{Region: "west", Kinds: map[string]topology.StoredKind{topology.StoredWAL: {Objects: 7, Bytes: 8}}}})
	got := scrape(m)
	for _, want := range []string{
		`smartdr_store_requests_total{group="prod",kind="put",region="west"} 2`, `smartdr_store_requests_total{group="prod",kind="list",region="west"} 3`,
		`smartdr_store_requests_total{group="prod",kind="delete",region="west"} 0`, `smartdr_store_errors_total{group="prod",region="west"} 4`,
		`smartdr_store_bytes_total{direction="in",group="prod",region="west"} 5`, `smartdr_store_bytes_total{direction="out",group="prod",region="west"} 6`,
		`smartdr_stored_bytes{group="prod",kind="wal",region="west"} 8`, `smartdr_stored_objects{group="prod",kind="wal",region="west"} 7`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no line %q in\n%s", want, got)
		}
	}
	var none *Metrics
	none.Usage(nil)
	none.Stored("prod", nil)
}
