package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

// controllerOf names the control plane that this worker works for, and waits until it answers.
func controllerOf(ctx context.Context, c client.Client, namespace string, logger *slog.Logger) (string, error) {
	retry := time.NewTicker(2 * time.Second)
	defer retry.Stop()
	for {
		id, err := askController(ctx, c, namespace)
		if err == nil {
			return id, nil
		}
		logger.WarnContext(ctx, "Temporal does not say who it is; trying again", "namespace", namespace, "error", err)
		select {
		case <-retry.C:
		case <-ctx.Done():
			return "", errors.Join(ctx.Err(), err)
		}
	}
}

// askController returns the id of the Temporal cluster and of its namespace. An empty Temporal is another one than the one that
// was lost, also at the same address: then its namespace has another id.
func askController(ctx context.Context, c client.Client, namespace string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
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
