package render

import (
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/topology"
)

func cost() topology.Cost {
	prices := topology.Prices{Currency: "USD", StorageGBMonth: 0.023, PutPer1000: 0.005, GetPer1000: 0.0004, EgressPerGB: 0.02}
	return topology.Cost{
		Group: "prod", Month: "2026-11", ReadAt: now,
		Regions: []topology.RegionCost{
			{
				Region: "east", Role: "serves", Requests: topology.Requests{Puts: 123_456, Lists: 12, Gets: 3, Heads: 4, Deletes: 5, Errors: 6, BytesOut: 5 << 30, BytesIn: 1 << 20},
				EgressBytes: 5 << 30, CountedSince: before(time.Hour), Prices: prices,
				Stored: &topology.Stored{Kinds: map[string]topology.StoredKind{
					topology.StoredWAL: {Objects: 100, Bytes: 3 << 30}, topology.StoredSnapshots: {Objects: 20, Bytes: 12 << 30}, topology.StoredCatalog: {Objects: 9, Bytes: 12345},
				}},
				ToDate: topology.Amounts{Storage: 0.25, Requests: 0.61728, Egress: 0.1}, Projected: topology.Amounts{Storage: 0.345, Requests: 1.8, Egress: 0.0031},
			},
			{Region: "west", Role: "receives", Prices: prices, TooEarly: true},
		},
		Notes: []string{"Requests are counted by the workers.", "What the bucket of west holds is not known."},
	}
}

func TestCostGolden(t *testing.T) {
	mixed := cost()
	mixed.Regions[1].Prices.Currency = "EUR"
	mixed.Regions[1].Stored = &topology.Stored{Partial: true, Kinds: map[string]topology.StoredKind{topology.StoredWAL: {Objects: 50_000, Bytes: 1 << 40}}}
	for name, got := range map[string]string{
		"cost":       Cost(cost(), Style{}),
		"cost_tty":   Cost(cost(), Style{Colour: true}),
		"cost_mixed": Cost(mixed, Style{}),
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, got) })
	}
}
