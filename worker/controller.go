package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/activities"
)

// unknown is the controller of a worker that Temporal has not answered yet: the one of no group, so that nothing is done for any that
// only its own control plane may do.
const unknown = "unknown"

// join finds out which control plane target works for. Until Temporal says so, the host does what needs no Temporal: its servers are
// started, fenced and announced as the catalog says, also when the whole region comes back and Temporal does not.
func join(ctx context.Context, c client.Client, namespace string, target *activities.Target) error {
	id, err := askController(ctx, c, namespace)
	if err != nil {
		id, err = alone(ctx, c, namespace, target, err)
	}
	target.Controller, target.Catalog.Controller = id, id
	return err
}

// alone keeps target's loops going until Temporal answers; none of them runs when it returns.
func alone(ctx context.Context, c client.Client, namespace string, target *activities.Target, why error) (id string, err error) {
	g, ctx := errgroup.WithContext(ctx)
	loops, stop := context.WithCancel(ctx)
	g.Go(func() error {
		return keep(loops, &activities.Source{Site: target.Site, Answers: answers(c), DataDir: target.DataDir}, target)
	})
	g.Go(func() (err error) {
		defer stop()
		id, err = controllerOf(ctx, c, namespace, target.Log, why)
		return err
	})
	err = g.Wait()
	return id, err
}

// keep runs what a host does by the catalog alone, whichever Temporal there is, until ctx is done, or another machine has its name.
func keep(ctx context.Context, source *activities.Source, target *activities.Target) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, loop := range []func(){
		func() { activities.KeepServing(ctx, target) },
		func() { activities.KeepFenced(ctx, source, target) },
		func() { activities.KeepMirroring(ctx, target.Site) },
	} {
		g.Go(func() error { loop(); return nil })
	}
	g.Go(func() error { return activities.KeepAnnouncing(ctx, target) })
	return g.Wait()
}

// controllerOf names the control plane that this worker works for, once Temporal answers.
func controllerOf(ctx context.Context, c client.Client, namespace string, logger *slog.Logger, err error) (id string, _ error) {
	retry := time.NewTicker(2 * time.Second)
	defer retry.Stop()
	for err != nil {
		logger.WarnContext(ctx, "Temporal does not say who it is; trying again", "namespace", namespace, "error", err)
		select {
		case <-retry.C:
		case <-ctx.Done():
			return "", errors.Join(ctx.Err(), err)
		}
		id, err = askController(ctx, c, namespace)
	}
	return id, nil
}

// askController returns the id of the Temporal cluster and of its namespace. An empty Temporal is another one than the one that
// was lost, also at the same address: then its namespace has another id.
func askController(ctx context.Context, c client.Client, namespace string) (string, error) {
	// Long, for a server that is slow is not helped by questions that are cut off and asked again.
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cluster, err := c.WorkflowService().GetClusterInfo(ctx, &workflowservice.GetClusterInfoRequest{})
	if err != nil {
		return "", err
	}
	d, err := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: namespace})
	var denied *serviceerror.PermissionDenied
	if errors.As(err, &denied) {
		return cluster.GetClusterId() + "/" + namespace, nil // who may not look knows its name at least
	}
	return cluster.GetClusterId() + "/" + d.GetNamespaceInfo().GetId(), err
}
