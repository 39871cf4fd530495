package main

import (
	"context"
	"log/slog"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/smartdr/smartdr/workflows"
)

// registerAttributes adds our search attributes to the namespace where they are missing. Without the right to do so
// (Temporal Cloud gives it to its console only) workflows go on without them.
func registerAttributes(ctx context.Context, c client.Client, namespace string, logger *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := ensureAttributes(ctx, c, namespace); err != nil {
		logger.WarnContext(ctx, "workflows will have no search attributes", "error", err)
		return
	}
	workflows.AttributesRegistered()
}

func ensureAttributes(ctx context.Context, c client.Client, namespace string) error {
	there, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return err
	}
	missing := map[string]enumspb.IndexedValueType{}
	for _, name := range []string{workflows.GroupAttribute, workflows.RegionAttribute, workflows.PhaseAttribute} {
		if _, ok := there.GetCustomAttributes()[name]; !ok {
			missing[name] = enumspb.INDEXED_VALUE_TYPE_KEYWORD
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, err = c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: missing})
	return err
}
