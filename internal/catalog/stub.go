package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/smartdr/smartdr/internal/topology"
)

var errTodo = errors.New("not built yet")

func (c *Catalog) Load(ctx context.Context, group string) (Loaded, error) { return Loaded{}, errTodo }
func (c *Catalog) Groups(ctx context.Context) (names []string, silent map[string]string, err error) {
	return nil, nil, errTodo
}
func (c *Catalog) Create(ctx context.Context, g topology.Group) (topology.Group, error) {
	return g, errTodo
}
func (c *Catalog) Update(ctx context.Context, group string, change func(*topology.Group) error) (Updated, error) {
	return Updated{}, errTodo
}
func (c *Catalog) Mirror(ctx context.Context, group string) error { return errTodo }
func (c *Catalog) MoveAuthority(ctx context.Context, group, region string, change func(*topology.Group) error) (Updated, error) {
	return Updated{}, errTodo
}
func (c *Catalog) ClaimEpoch(ctx context.Context, claim Claim) (Claim, error) {
	return Claim{}, errTodo
}
func (c *Catalog) NewestEpoch(ctx context.Context, group string) (topology.Epoch, error) {
	return 0, errTodo
}
func (c *Catalog) CheckEpoch(ctx context.Context, group string, epoch topology.Epoch) error {
	return errTodo
}
func (c *Catalog) BeginOperation(ctx context.Context, op topology.Operation) error { return errTodo }
func (c *Catalog) TakeOverOperation(ctx context.Context, held string, op topology.Operation) error {
	return errTodo
}
func (c *Catalog) EndOperation(ctx context.Context, op topology.Operation) error { return errTodo }
func (c *Catalog) PutOperation(ctx context.Context, op topology.Operation) error { return errTodo }
func (c *Catalog) Operation(ctx context.Context, group, id string) (topology.Operation, error) {
	return topology.Operation{}, errTodo
}
func (c *Catalog) Operations(ctx context.Context, group string) ([]topology.Operation, error) {
	return nil, errTodo
}
func (c *Catalog) PutWALProgress(ctx context.Context, group, workspace string, p topology.WALProgress) error {
	return errTodo
}
func (c *Catalog) WALProgress(ctx context.Context, group, workspace string) (topology.WALProgress, error) {
	return topology.WALProgress{}, errTodo
}
func (c *Catalog) PutSnapshotProgress(ctx context.Context, group, workspace string, p topology.SnapshotProgress) error {
	return errTodo
}
func (c *Catalog) SnapshotProgress(ctx context.Context, group, workspace string) (topology.SnapshotProgress, error) {
	return topology.SnapshotProgress{}, errTodo
}
func (c *Catalog) PutMetadata(ctx context.Context, group, workspace string, m Metadata) error {
	return errTodo
}
func (c *Catalog) Metadata(ctx context.Context, group, workspace string) (Metadata, error) {
	return Metadata{}, errTodo
}
func (c *Catalog) Status(ctx context.Context, group string, now time.Time) (topology.GroupStatus, error) {
	return topology.GroupStatus{}, errTodo
}

type Metadata struct {
	Format     int             `json:"format"`
	Epoch      topology.Epoch  `json:"epoch"`
	CapturedAt time.Time       `json:"capturedAt"`
	Databases  []string        `json:"databases"`
	Server     json.RawMessage `json:"server"`
}
