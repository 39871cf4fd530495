package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/config"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/hook"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/telemetry"
	"github.com/smartdr/smartdr/internal/usage"
	"github.com/smartdr/smartdr/workflows"
)

// options are the worker's flags.
type options struct {
	config, region, metrics, logLevel, logFormat string
	own                                          config.Worker // what differs from host to host of a region
}

// stopTimeout is how long a worker that is told to stop lets its activities finish what they hold: a shipper stores
// what it has received.
const stopTimeout = 20 * time.Second

// run works until ctx is done.
func run(ctx context.Context, o options) error {
	logger, err := telemetry.Logger(o.logLevel, o.logFormat)
	if err != nil {
		return err
	}
	logger = logger.With("region", o.region)
	cfg, region, err := load(o)
	if err != nil {
		return err
	}
	meter := &usage.Meter{}
	stores, err := cfg.OpenStores(ctx, meter.Store)
	if err != nil {
		return err
	}
	c, err := connect(cfg.Temporal, logger)
	if err != nil {
		return err
	}
	defer c.Close()
	metrics, err := measure(ctx, o.metrics)
	if err != nil {
		return err
	}
	site := activities.Site{
		Region: o.region, Controller: unknown, Stores: stores, Metrics: metrics, Hooks: hooks(cfg, logger), Log: logger,
		Catalog: &catalog.Catalog{Stores: impatient(stores), Controller: unknown, Log: logger},
	}
	target, err := host(ctx, site, region.Worker)
	if err != nil {
		return err
	}
	if err := join(ctx, c, namespace(cfg.Temporal), target); err != nil {
		return err
	}
	registerAttributes(ctx, c, namespace(cfg.Temporal), logger)
	metrics.Usage(meter)
	defer activities.KeepCounting(target.Site, meter)()
	return work(ctx, c, target)
}

// measure returns nil where nobody is to be told.
func measure(ctx context.Context, addr string) (*telemetry.Metrics, error) {
	if addr == "" {
		return nil, nil
	}
	m, err := telemetry.NewMetrics()
	if err != nil {
		return nil, err
	}
	return m, m.Serve(ctx, addr)
}

// impatient stores are for the catalog: it asks every bucket and goes on with those that answer, so that one that is
// lost must not cost a wait each time. A failover asks it a dozen times. What workflows ask goes on for longer than its rest.
func impatient(stores map[string]objectstore.Store) map[string]objectstore.Store {
	all := map[string]objectstore.Store{}
	for region, s := range stores {
		all[region] = objectstore.WithBreaker(s, 3*time.Second, workflows.BucketRest)
	}
	return all
}

func load(o options) (*config.Config, config.Region, error) {
	cfg, err := config.Load(o.config)
	if err != nil {
		return nil, config.Region{}, err
	}
	if o.region == "" {
		return nil, config.Region{}, fault.Newf(fault.Invalid, "start", "a worker needs to know its region").WithHint("--region, one of %v", cfg.RegionNames())
	}
	if err := cfg.OverrideWorker(o.region, o.own); err != nil {
		return nil, config.Region{}, err
	}
	region, err := cfg.Region(o.region)
	return cfg, region, err
}

// work does what a host does until ctx is done, or one of the pollers gives up, or another machine has this host's name.
func work(ctx context.Context, c client.Client, target *activities.Target) error {
	source := &activities.Source{Site: target.Site, Answers: answers(c), DataDir: target.DataDir}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return keep(ctx, source, target) })
	g.Go(func() error {
		activities.KeepBranches(ctx, &activities.Control{Site: target.Site, Temporal: c}, target, workflows.BranchReplicationOf)
		return nil
	})
	g.Go(func() error {
		failed := make(chan error, 4)
		gaveUp := func(err error) { failed <- fmt.Errorf("polling failed: %w", err) }
		stop := poll(ctx, target.Log, func() []worker.Worker { return pollers(c, target, source, gaveUp) })
		defer stop()
		target.Log.InfoContext(ctx, "working", "queues", queues(target.Site))
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		}
	})
	return g.Wait()
}

// queues are those of anywhere, of the region, and of this host.
func queues(site activities.Site) []string {
	return []string{workflows.TaskQueue, workflows.RegionQueue(site.Region), workflows.HostQueue(site.Region, site.Host)}
}

// pollers returns a worker for each queue; the one that runs workflows comes last, when there is somebody for what they order.
func pollers(c client.Client, target *activities.Target, source *activities.Source, failed func(error)) []worker.Worker {
	options := worker.Options{
		WorkerStopTimeout: stopTimeout,
		// Heartbeats are sent when they are due, so that three may be lost before a worker counts as dead.
		MaxHeartbeatThrottleInterval:     2 * time.Second,
		DefaultHeartbeatThrottleInterval: 2 * time.Second,
		OnFatalError:                     failed,
	}
	control := &activities.Control{Site: target.Site, Temporal: c}
	all := queues(target.Site)
	anywhere := worker.New(c, all[0], options)
	registerWorkflows(anywhere)
	anywhere.RegisterActivity(control)
	options.DisableWorkflowWorker = true
	var here []worker.Worker
	for _, queue := range all[1:] {
		w := worker.New(c, queue, options)
		for _, a := range []any{control, source, target} {
			w.RegisterActivity(a)
		}
		here = append(here, w)
	}
	return append(here, anywhere)
}

func registerWorkflows(w worker.Worker) {
	for _, f := range []any{workflows.CreateGroup, workflows.ChangeGroup, workflows.CreateWorkspace, workflows.ChangeWorkspace, workflows.Suspend, workflows.Resume, workflows.Terminate,
		workflows.Configure, workflows.ChangeDatabases, workflows.Replication, workflows.WorkspaceReplication, workflows.Recover, workflows.Failover, workflows.Notify,
		workflows.Tails, workflows.CreateBranch, workflows.DropBranch, workflows.LinkBranch,
		workflows.AttachBranch, workflows.DetachBranch, workflows.BranchReplication, workflows.Search, workflows.Restore,
		workflows.Retention, workflows.ChangeRetention, workflows.Expire, workflows.Snapshot, workflows.Verify, workflows.MissingRows,
		workflows.Switchover, workflows.Failback, workflows.Preprovision, workflows.Standby} {
		w.RegisterWorkflow(f)
	}
}

// hooks returns those of the configuration. What is wrong with one keeps no worker from its work.
func hooks(cfg *config.Config, logger *slog.Logger) []hook.Hook {
	all := cfg.Deliverers()
	for _, h := range all {
		if err := h.CheckSecret(); err != nil {
			logger.Warn("a hook cannot be used from here", "hook", h.Name, "error", err, "hint", fault.HintOf(err))
		}
	}
	return all
}

func answers(c client.Client) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err := c.CheckHealth(ctx, &client.CheckHealthRequest{})
		return err
	}
}

// connect makes a client of Temporal by its standard environment and the configuration file, which wins. Whether anybody answers
// there is found out by who asks: a worker is often there first, and has work that needs no Temporal.
func connect(t config.Temporal, logger *slog.Logger) (client.Client, error) {
	options, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return nil, fault.New(fault.Invalid, "read Temporal's environment", err)
	}
	if t.Address != "" {
		options.HostPort = t.Address
	}
	if t.Namespace != "" {
		options.Namespace = t.Namespace
	}
	options.Logger = log.NewStructuredLogger(logger)
	c, err := client.NewLazyClient(options)
	if err != nil {
		return nil, fault.New(fault.Invalid, "connect to Temporal", err).WithHint("See temporal in the configuration file, and TEMPORAL_* in the environment.")
	}
	return c, nil
}

func namespace(t config.Temporal) string {
	if t.Namespace != "" {
		return t.Namespace
	}
	options, err := envconfig.LoadDefaultClientOptions()
	if err != nil || options.Namespace == "" {
		return client.DefaultNamespace
	}
	return options.Namespace
}
