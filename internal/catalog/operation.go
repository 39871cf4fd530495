package catalog

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// operationDocument is an operation's account with the time of its last change, by its writer's clock.
type operationDocument struct {
	Format    int       `json:"format"`
	UpdatedAt time.Time `json:"updatedAt"`
	topology.Operation
}

func (d operationDocument) age() age { return age{d.Epoch, d.UpdatedAt} }

// BeginOperation makes op the one operation that may change its group, and stores its account. It is idempotent by op.ID. If
// another operation holds the group the error is fault.Taken with *Busy in its tree.
func (c *Catalog) BeginOperation(ctx context.Context, op topology.Operation) error {
	return c.takeOperation(ctx, op, "")
}

// TakeOverOperation is BeginOperation, and puts op in the place of the operation held, if that is the one that holds the
// group: it was abandoned, or op goes on with its work.
func (c *Catalog) TakeOverOperation(ctx context.Context, held string, op topology.Operation) error {
	return c.takeOperation(ctx, op, held)
}

func (c *Catalog) takeOperation(ctx context.Context, op topology.Operation, instead string) error {
	if err := checkOperation(op); err != nil {
		return err
	}
	ref := topology.OperationRef{ID: op.ID, Kind: op.Kind, StartedAt: op.StartedAt}
	_, err := c.Update(ctx, op.Group, func(g *topology.Group) error {
		if h := g.Operation; h != nil && h.ID != op.ID && h.ID != instead {
			return fault.New(fault.Taken, "begin "+op.Kind, &Busy{g.Name, *h}).
				WithHint("Wait until it is over; see: smartdr operations %s.", g.Name)
		}
		if g.Operation == nil || g.Operation.ID != op.ID {
			g.Operation = &ref
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.PutOperation(ctx, op)
}

func checkOperation(op topology.Operation) error {
	if err := checkNames(op.Group); err != nil {
		return err
	}
	if op.Kind == "" {
		return fault.Newf(fault.Invalid, "check operation", "operation %s has no kind", op.ID)
	}
	return checkOperationID(op.ID)
}

// EndOperation stores op's last account, whose State is not Active, and lets go of its group if op holds it.
func (c *Catalog) EndOperation(ctx context.Context, op topology.Operation) error {
	if op.State == topology.OperationActive || op.State == "" {
		return fault.Newf(fault.Invalid, "end operation "+op.ID, "it is still %q", op.State)
	}
	if err := c.PutOperation(ctx, op); err != nil {
		return err
	}
	_, err := c.Update(ctx, op.Group, func(g *topology.Group) error {
		if g.Operation != nil && g.Operation.ID == op.ID {
			g.Operation = nil
		}
		return nil
	})
	return err
}

// PutOperation stores an operation's account in the buckets of its group's regions. It succeeds if one takes it.
func (c *Catalog) PutOperation(ctx context.Context, op topology.Operation) error {
	if err := checkOperation(op); err != nil {
		return err
	}
	regions, err := c.regionsOf(ctx, op.Group)
	if err != nil {
		return err
	}
	body, err := encode(operationDocument{format, c.now().UTC(), op})
	if err != nil {
		return err
	}
	key := operationKey(op.Group, op.ID)
	return c.spread(ctx, regions, write{key: key, blind: body, overtake: newerOf[operationDocument](key), next: func(there []byte) ([]byte, error) {
		_, _, err := former[operationDocument](key, there)
		return body, err
	}})
}

func (c *Catalog) readOperation(ctx context.Context, regions []string, group, id string) (operationDocument, error) {
	key := operationKey(group, id)
	return newestReply("read "+key, askAnnounced[operationDocument](ctx, c, regions, key))
}

// Operation returns the newest account of one operation among the buckets that answer; fault.Missing when there is none.
func (c *Catalog) Operation(ctx context.Context, group, id string) (topology.Operation, error) {
	if err := checkOperationID(id); err != nil {
		return topology.Operation{}, err
	}
	regions, err := c.regionsOf(ctx, group)
	if err != nil {
		return topology.Operation{}, err
	}
	d, err := c.readOperation(ctx, regions, group, id)
	return d.Operation, err
}

// Operations returns the accounts of all operations of a group in the buckets that answer, newest first. One that is damaged
// in every bucket fails the whole.
func (c *Catalog) Operations(ctx context.Context, group string) ([]topology.Operation, error) {
	regions, err := c.regionsOf(ctx, group)
	if err != nil {
		return nil, err
	}
	ids, answering, err := c.operationIDs(ctx, regions, group)
	if err != nil {
		return nil, err
	}
	out := make([]topology.Operation, len(ids))
	errs := make([]error, len(ids))
	slots := make(chan struct{}, 8) // requests at a time and bucket
	var wg sync.WaitGroup
	for i, id := range ids {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			var d operationDocument
			d, errs[i] = c.readOperation(ctx, answering, group, id)
			out[i] = d.Operation
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b topology.Operation) int {
		return cmp.Or(b.StartedAt.Compare(a.StartedAt), cmp.Compare(b.Epoch, a.Epoch), b.RecordedAt.Compare(a.RecordedAt), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}

func (c *Catalog) operationIDs(ctx context.Context, regions []string, group string) (ids, answering []string, err error) {
	prefix := operationsPrefix(group)
	replies := ask(ctx, c, regions, func(ctx context.Context, _ string, s objectstore.Store) ([]string, error) {
		var ids []string
		for info, err := range s.List(ctx, prefix, "") {
			if err != nil {
				return nil, err
			}
			id, isJSON := strings.CutSuffix(strings.TrimPrefix(info.Key, prefix), ".json")
			if isJSON && operationID.MatchString(id) {
				ids = append(ids, id)
			}
		}
		return ids, nil
	})
	if err := noneAnswered("list operations of group "+group, replies); err != nil {
		return nil, nil, err
	}
	for _, region := range regions {
		if r := replies[region]; r.err == nil {
			answering = append(answering, region)
			ids = append(ids, r.value...)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), answering, nil
}
