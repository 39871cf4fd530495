package api

import (
	"context"
	"errors"
	"regexp"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"

	"github.com/smartdr/smartdr/internal/config"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/workflows"
)

const (
	// redialAfter is how long a Temporal that did not answer is left alone, so that watching stays fluent without it.
	redialAfter = 10 * time.Second
	// polledWithin is how long ago a worker must have asked for work to count. A worker's question stands for a
	// minute at most before it asks again.
	polledWithin = 75 * time.Second
	// reconnectWithin is how long workers may take to come back to a Temporal that was restarted, which has forgotten them: they try
	// it again every 10 seconds or so.
	reconnectWithin = 15 * time.Second
)

// ClientOptions returns how to reach Temporal: its own files and environment (TEMPORAL_ADDRESS, TEMPORAL_API_KEY,
// ...), with what the configuration says put over it.
func ClientOptions(cfg config.Temporal) (client.Options, error) {
	o, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return client.Options{}, fault.New(fault.Invalid, "read Temporal's environment", err)
	}
	if cfg.Address != "" {
		o.HostPort = cfg.Address
	}
	if cfg.Namespace != "" {
		o.Namespace = cfg.Namespace
	}
	return o, nil
}

// dial returns the connection to Temporal, which is made when it is first needed.
func (s *Service) dial(ctx context.Context) (client.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.temporal != nil {
		return s.temporal, nil
	}
	if s.failure != nil && s.opts.Now().Sub(s.failedAt) < redialAfter {
		return nil, s.failure
	}
	o, err := ClientOptions(s.cfg.Temporal)
	if err != nil {
		return nil, err
	}
	o.Logger = log.NewStructuredLogger(s.opts.Log)
	ctx, cancel := context.WithTimeout(ctx, s.opts.DialTimeout)
	defer cancel()
	c, err := client.DialContext(ctx, o)
	if err != nil {
		s.failedAt, s.failure = s.opts.Now(), unreachable(o.HostPort, err)
		return nil, s.failure
	}
	s.temporal, s.failure = c, nil
	return c, nil
}

func unreachable(address string, err error) error {
	if address == "" {
		address = client.DefaultHostPort
	}
	return As(Unreachable, fault.Newf(fault.Transient, opConnectTemporal, "%s does not answer: %w", address, &dialError{err}).
		WithHint("Start it, or name another one: temporal.address in the configuration, or TEMPORAL_ADDRESS. If it is lost, `smartdr recover` goes on with an empty one. Commands that only read work without it."))
}

const opConnectTemporal = "connect to Temporal"

// NoTemporal reports whether an error says that Temporal does not answer.
func NoTemporal(err error) bool {
	var f *fault.Error
	return errors.As(err, &f) && f.Op == opConnectTemporal
}

// dialError is why Temporal could not be reached, without what gRPC says around it.
type dialError struct{ err error }

// dialed finds what the system said in what gRPC makes of it.
var dialed = regexp.MustCompile(`desc = "transport: Error while dialing: dial tcp [^ ]+: (?:connect: )?([^"]+)"`)

func (e *dialError) Error() string {
	if m := dialed.FindStringSubmatch(e.err.Error()); m != nil {
		return m[1]
	}
	return e.err.Error()
}

func (e *dialError) Unwrap() error { return e.err }

// start starts a workflow; fault.Conflict when it runs already.
func (s *Service) start(ctx context.Context, id, workflow, summary string, in any) (client.WorkflowRun, error) {
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.someWorker(ctx, c); err != nil {
		return nil, err
	}
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: workflows.TaskQueue, StaticSummary: summary,
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, workflow, in)
	var running *serviceerror.WorkflowExecutionAlreadyStarted
	switch {
	case errors.As(err, &running):
		return nil, fault.Newf(fault.Conflict, "start "+workflow, "%s is under way already", id).
			WithHint("Wait until it has ended: temporal workflow show --workflow-id %s", id)
	case err != nil:
		return nil, As(Unreachable, fault.New(fault.Transient, "start "+workflow, err))
	}
	return run, nil
}

// perform starts a workflow and waits for its result.
func (s *Service) perform(ctx context.Context, id, workflow, summary string, in, out any) error {
	run, err := s.start(ctx, id, workflow, summary, in)
	if err != nil {
		return err
	}
	return failure(ctx, run.Get(ctx, out))
}

// failure makes a workflow's error one of ours.
func failure(ctx context.Context, err error) error {
	var app *temporal.ApplicationError
	var timeout *temporal.TimeoutError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fault.Newf(fault.Invalid, "wait for the workflow", "%w", ctx.Err()).
			WithHint("It goes on by itself; the same command again, or Temporal's web UI, shows how it ended.")
	case errors.As(err, &app), errors.As(err, &timeout):
		return reported(workflows.FailureOf(err))
	case isServiceError(err):
		return As(Unreachable, fault.New(fault.Transient, "ask Temporal", err))
	}
	return err
}

// verdict is what a workflow said when it failed.
type verdict struct{ err *fault.Error }

func (v *verdict) Error() string { return v.err.Error() }
func (v *verdict) Unwrap() error { return v.err }

// reported keeps the words of a failure and what can be done about it.
func reported(f workflows.Failure) error {
	v := &verdict{&fault.Error{Kind: fault.Kind(f.Type), Op: f.Message, Hint: f.Hint}}
	switch f.Type {
	case workflows.NoWorkerType:
		return As(Unreachable, v)
	case workflows.HoleType, string(fault.Transient):
		return As(Failed, v)
	}
	return v
}

// isVerdict reports whether a workflow itself said err.
func isVerdict(err error) bool {
	var v *verdict
	return errors.As(err, &v)
}

func isServiceError(err error) bool {
	var s serviceerror.ServiceError
	return errors.As(err, &s)
}

// someWorker refuses to start what nobody would pick up.
func (s *Service) someWorker(ctx context.Context, c client.Client) error {
	const op = "ask Temporal for workers"
	for began := time.Now(); ; {
		n, err := s.workers(ctx, c, workflows.TaskQueue, enumspb.TASK_QUEUE_TYPE_WORKFLOW)
		switch {
		case err != nil:
			return As(Unreachable, fault.New(fault.Transient, op, err))
		case n > 0:
			return nil
		case time.Since(began) > reconnectWithin:
			return As(Unreachable, fault.Newf(fault.Transient, op, "no worker polls task queue %q", workflows.TaskQueue).
				WithHint("Start one in each region: smartdr-worker --region REGION"))
		}
		select {
		case <-time.After(time.Second / 2):
		case <-ctx.Done():
			return As(Unreachable, fault.New(fault.Transient, op, ctx.Err()))
		}
	}
}

// workers counts the processes that poll a task queue.
func (s *Service) workers(ctx context.Context, c client.Client, queue string, kind enumspb.TaskQueueType) (int, error) {
	r, err := c.WorkflowService().DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
		Namespace:     s.namespace(),
		TaskQueue:     &taskqueuepb.TaskQueue{Name: queue, Kind: enumspb.TASK_QUEUE_KIND_NORMAL},
		TaskQueueType: kind,
	})
	if err != nil {
		return 0, err
	}
	seen := map[string]bool{}
	for _, p := range r.GetPollers() {
		if s.opts.Now().Sub(p.GetLastAccessTime().AsTime()) < polledWithin {
			seen[p.GetIdentity()] = true
		}
	}
	return len(seen), nil
}

func (s *Service) namespace() string {
	if o, err := ClientOptions(s.cfg.Temporal); err == nil && o.Namespace != "" {
		return o.Namespace
	}
	return client.DefaultNamespace
}
