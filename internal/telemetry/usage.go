package telemetry

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/smartdr/smartdr/internal/topology"
)

// Counts are what a process has asked of the buckets since it started. usage.Meter is one.
type Counts interface {
	Groups() []string
	Totals(group string) map[string]topology.Requests // by region
}

// Usage shows counts to whoever scrapes, from now on.
func (m *Metrics) Usage(c Counts) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts = c
}

// Stored takes what the buckets hold of a group.
func (m *Metrics) Stored(group string, all []topology.Stored) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stored == nil {
		m.stored = map[string][]topology.Stored{}
	}
	m.stored[group] = all
}

func (m *Metrics) registerUsage(meter metric.Meter) error {
	requests, err1 := meter.Float64ObservableCounter("smartdr_store_requests", metric.WithDescription("requests made to the region's bucket, each attempt"))
	failed, err2 := meter.Float64ObservableCounter("smartdr_store_errors", metric.WithDescription("of these requests, those that failed"))
	bytes, err3 := meter.Float64ObservableCounter("smartdr_store_bytes", metric.WithDescription("bodies read from (in) and written to (out) the region's bucket"))
	stored, err4 := meter.Float64ObservableGauge("smartdr_stored_bytes", metric.WithDescription("what the region's bucket holds of the group, as listed within the last hour"))
	objects, err5 := meter.Float64ObservableGauge("smartdr_stored_objects", metric.WithDescription("how many objects that is"))
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return err
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.observeCounts(o, requests, failed, bytes)
		for group, all := range m.stored {
			for _, s := range all {
				for kind, k := range s.Kinds {
					of := metric.WithAttributes(attribute.String("group", group), attribute.String("region", s.Region), attribute.String("kind", kind))
					o.ObserveFloat64(stored, float64(k.Bytes), of)
					o.ObserveFloat64(objects, float64(k.Objects), of)
				}
			}
		}
		return nil
	}, requests, failed, bytes, stored, objects)
	return err
}

func (m *Metrics) observeCounts(o metric.Observer, requests, failed, bytes metric.Float64Observable) {
	if m.counts == nil {
		return
	}
	for _, group := range m.counts.Groups() {
		for region, r := range m.counts.Totals(group) {
			of := []attribute.KeyValue{attribute.String("group", group), attribute.String("region", region)}
			for kind, n := range map[string]int64{"get": r.Gets, "put": r.Puts, "head": r.Heads, "list": r.Lists, "delete": r.Deletes} {
				o.ObserveFloat64(requests, float64(n), metric.WithAttributes(append(of[:2:2], attribute.String("kind", kind))...))
			}
			o.ObserveFloat64(failed, float64(r.Errors), metric.WithAttributes(of...))
			for direction, n := range map[string]int64{"in": r.BytesIn, "out": r.BytesOut} {
				o.ObserveFloat64(bytes, float64(n), metric.WithAttributes(append(of[:2:2], attribute.String("direction", direction))...))
			}
		}
	}
}
