package activities

import (
	"context"
	"errors"

	"github.com/smartdr/smartdr/internal/topology"
)

var errSoon = errors.New("not built yet")

type Control struct{}
type Source struct{}
type Target struct{}

func (c *Control) ReadGroup(ctx context.Context, in ReadGroupInput) (topology.Group, error) {
	return topology.Group{}, errSoon
}
func (c *Control) RecordGroup(ctx context.Context, in RecordGroupInput) (topology.Group, error) {
	return topology.Group{}, errSoon
}
func (c *Control) ObserveStatus(ctx context.Context, in ReadGroupInput) (topology.GroupStatus, error) {
	return topology.GroupStatus{}, errSoon
}
func (c *Control) EnsureReplication(ctx context.Context, in EnsureReplicationInput) error {
	return errSoon
}
func (s *Source) CheckRegions(ctx context.Context, in CheckRegionsInput) error { return errSoon }
func (s *Source) PreflightSource(ctx context.Context, in PreflightSourceInput) (PreflightSourceResult, error) {
	return PreflightSourceResult{}, errSoon
}
func (s *Source) RecordReplication(ctx context.Context, in RecordReplicationInput) (topology.Group, error) {
	return topology.Group{}, errSoon
}
func (s *Source) PrepareSource(ctx context.Context, in SourceInput) (PrepareSourceResult, error) {
	return PrepareSourceResult{}, errSoon
}
func (s *Source) ShipSegments(ctx context.Context, in SourceInput) (ShipSegmentsResult, error) {
	return ShipSegmentsResult{}, errSoon
}
func (s *Source) TakeSnapshot(ctx context.Context, in TakeSnapshotInput) (TakeSnapshotResult, error) {
	return TakeSnapshotResult{}, errSoon
}
func (s *Source) MirrorSnapshot(ctx context.Context, in MirrorSnapshotInput) error { return errSoon }
func (s *Source) CaptureMetadata(ctx context.Context, in SourceInput) error        { return errSoon }
func (s *Source) MergeSegments(ctx context.Context, in SourceInput) error          { return errSoon }
func (s *Source) StartLineage(ctx context.Context, in StartLineageInput) (PrepareSourceResult, error) {
	return PrepareSourceResult{}, errSoon
}
func (t *Target) PlanFailover(ctx context.Context, in PlanFailoverInput) (FailoverPlan, error) {
	return FailoverPlan{}, errSoon
}
func (t *Target) BeginOperation(ctx context.Context, in BeginOperationInput) (BeginOperationResult, error) {
	return BeginOperationResult{}, errSoon
}
func (t *Target) ClaimEpoch(ctx context.Context, in ClaimEpochInput) (ClaimEpochResult, error) {
	return ClaimEpochResult{}, errSoon
}
func (t *Target) FixRecoveryPoint(ctx context.Context, in FixRecoveryPointInput) (FailoverPlan, error) {
	return FailoverPlan{}, errSoon
}
func (t *Target) ProvisionTopology(ctx context.Context, in RestoreInput) (Place, error) {
	return Place{}, errSoon
}
func (t *Target) RestoreSnapshot(ctx context.Context, in RestoreInput) (PhaseResult, error) {
	return PhaseResult{}, errSoon
}
func (t *Target) FetchWAL(ctx context.Context, in RestoreInput) (PhaseResult, error) {
	return PhaseResult{}, errSoon
}
func (t *Target) AttachBranch(ctx context.Context, in RestoreInput) (AttachBranchResult, error) {
	return AttachBranchResult{}, errSoon
}
func (t *Target) RestoreMetadata(ctx context.Context, in RestoreInput) (PhaseResult, error) {
	return PhaseResult{}, errSoon
}
func (t *Target) PublishEndpoint(ctx context.Context, in PublishEndpointInput) (topology.Group, error) {
	return topology.Group{}, errSoon
}
func (t *Target) RecordOperation(ctx context.Context, in RecordOperationInput) error { return errSoon }
func (t *Target) EndOperation(ctx context.Context, in RecordOperationInput) error    { return errSoon }
