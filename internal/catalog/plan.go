package catalog

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// planDocument is what an operation has decided to do, once for all its attempts (catalog document
// operations/<id>/plan.json in the bucket of the region that the operation leads to).
type planDocument struct {
	Format    int             `json:"format"`
	Group     string          `json:"group"`
	Operation string          `json:"operation"`
	Plan      json.RawMessage `json:"plan"`
}

func planKey(group, operation string) string {
	return operationsPrefix(group) + operation + "/plan.json"
}

// FixPlan makes change's result the plan of an operation, by a conditional write, and returns the plan that holds then.
// change gets the plan that is there, or nil; what it returns unchanged is not written. When another attempt was
// faster it is called again with that one's plan, so it must be able to tell its own work from another's.
func (c *Catalog) FixPlan(ctx context.Context, region, group, operation string, change func(plan []byte) ([]byte, error)) ([]byte, error) {
	if err := checkNames(group); err != nil {
		return nil, err
	}
	if err := checkOperationID(operation); err != nil {
		return nil, err
	}
	s, err := c.store(region)
	if err != nil {
		return nil, err
	}
	for n := 0; ; n++ {
		plan, err := tryPlan(ctx, s, group, operation, change)
		if !fault.Is(err, fault.Conflict) || n+1 == attempts {
			return plan, err
		}
		if err := pause(ctx, n); err != nil {
			return nil, err
		}
	}
}

func tryPlan(ctx context.Context, s objectstore.Store, group, operation string, change func([]byte) ([]byte, error)) ([]byte, error) {
	key := planKey(group, operation)
	var there planDocument
	opts := objectstore.PutOptions{IfAbsent: true}
	b, info, err := s.Get(ctx, key)
	switch {
	case err == nil:
		opts = objectstore.PutOptions{IfMatch: info.ETag}
		if err := decode(key, b, &there); err != nil {
			return nil, err
		}
	case !fault.Is(err, fault.Missing):
		return nil, err
	}
	next, err := change(there.Plan)
	if err != nil || there.Plan != nil && bytes.Equal(compact(next), compact(there.Plan)) {
		return next, err
	}
	body, err := encode(planDocument{format, group, operation, next})
	if err != nil {
		return nil, err
	}
	_, err = s.Put(ctx, key, body, opts)
	return next, err
}

// compact is a plan without the white space that people read it by.
func compact(plan []byte) []byte {
	var b bytes.Buffer
	if json.Compact(&b, plan) != nil {
		return plan
	}
	return b.Bytes()
}
