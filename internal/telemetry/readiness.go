package telemetry

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/smartdr/smartdr/internal/topology"
)

// Readiness takes what a check of a group found.
func (m *Metrics) Readiness(r topology.Readiness) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.readiness == nil {
		m.readiness = map[string]topology.Readiness{}
	}
	m.readiness[r.Group] = r
}

// registerReadiness shows the last check that this worker made. Another worker may have checked since: the time tells.
func (m *Metrics) registerReadiness(meter metric.Meter) error {
	items, err1 := meter.Float64ObservableGauge("smartdr_readiness_items", metric.WithDescription("checks of whether a failover would work, by what they found"))
	checked, err2 := meter.Float64ObservableGauge("smartdr_readiness_checked_timestamp_seconds", metric.WithDescription("when this worker last checked; another one may have since"))
	drift, err3 := meter.Float64ObservableGauge("smartdr_readiness_drift_items", metric.WithDescription("differences between what the primary has and what a failover would give"))
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		for group, r := range m.readiness {
			of := attribute.String("group", group)
			for state, n := range counted(r.Items) {
				o.ObserveFloat64(items, n, metric.WithAttributes(of, attribute.String("state", string(state))))
			}
			o.ObserveFloat64(checked, float64(r.CheckedAt.UnixMilli())/1000, metric.WithAttributes(of))
			o.ObserveFloat64(drift, float64(len(r.Drift)), metric.WithAttributes(of))
		}
		return nil
	}, items, checked, drift)
	return err
}

// counted has an entry for each state, so that one that is over goes to zero and does not vanish.
func counted(items []topology.ReadinessItem) map[topology.ReadinessState]float64 {
	n := map[topology.ReadinessState]float64{topology.ReadinessOK: 0, topology.ReadinessWarning: 0, topology.ReadinessBlocking: 0}
	for _, i := range items {
		n[i.State]++
	}
	return n
}
