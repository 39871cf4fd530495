package telemetry

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// Metrics keeps what shippers last announced, for whoever scrapes. Its methods are safe for concurrent use, and on a nil
// Metrics they do nothing.
type Metrics struct {
	registry *prometheus.Registry

	mu        sync.Mutex
	wal       map[shipper]topology.WALProgress
	readiness map[string]topology.Readiness // by group
	stored    map[string][]topology.Stored  // by group
	counts    Counts                        // nil for none
}

// shipper names what a series belongs to.
type shipper struct{ group, workspace string }

// NewMetrics returns metrics that nobody can scrape before Serve.
func NewMetrics() (*Metrics, error) {
	m := &Metrics{registry: prometheus.NewRegistry(), wal: map[shipper]topology.WALProgress{}}
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(m.registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return nil, err
	}
	meter := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter)).Meter("github.com/smartdr/smartdr")
	return m, errors.Join(m.register(meter), m.registerReadiness(meter), m.registerUsage(meter))
}

// WAL takes what a shipper announces.
func (m *Metrics) WAL(group, workspace string, p topology.WALProgress) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wal[shipper{group, workspace}] = p
}

func (m *Metrics) register(meter metric.Meter) error {
	var errs []error
	gauge := func(name, unit, description string) metric.Float64ObservableGauge {
		g, err := meter.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return g
	}
	lagSeconds := gauge("smartdr_lag_seconds", "", "age of the oldest byte that the server has flushed and the region's bucket does not hold")
	lagBytes := gauge("smartdr_lag_bytes", "", "WAL that the server has flushed and the region's bucket does not hold")
	point := gauge("smartdr_recovery_point_lsn", "", "end of the unbroken chain of segments in the region's bucket, as a byte position")
	measured := gauge("smartdr_measured_timestamp_seconds", "", "when the shipper measured; an old one means that nobody ships")
	safe := gauge("smartdr_slot_safe_wal_bytes", "", "WAL that the server may still write before it drops the slot; absent without max_slot_wal_keep_size")
	if err := errors.Join(errs...); err != nil {
		return err
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		for s, p := range m.wal {
			of := []attribute.KeyValue{attribute.String("group", s.group), attribute.String("workspace", s.workspace)}
			o.ObserveFloat64(measured, float64(p.MeasuredAt.UnixMilli())/1000, metric.WithAttributes(of...))
			if p.Slot.SafeWALSize != nil {
				o.ObserveFloat64(safe, float64(*p.Slot.SafeWALSize), metric.WithAttributes(of...))
			}
			for _, c := range p.Cursors {
				in := metric.WithAttributes(append(of[:2:2], attribute.String("region", c.Region))...)
				o.ObserveFloat64(lagSeconds, c.LagSeconds, in)
				o.ObserveFloat64(lagBytes, float64(c.LagBytes), in)
				o.ObserveFloat64(point, float64(c.Point.At.LSN), in)
			}
		}
		return nil
	}, lagSeconds, lagBytes, point, measured, safe)
	return err
}

// Serve answers Prometheus at http://addr/metrics until ctx is done. It returns when it listens.
func (m *Metrics) Serve(ctx context.Context, addr string) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fault.New(fault.Invalid, "serve metrics", err).WithHint("Choose another address with --metrics.")
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() }) // whoever scrapes now asks again
	go func() { _ = server.Serve(listener) }()            // ends by Close alone: the listener is open already
	return nil
}
