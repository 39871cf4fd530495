package api

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// RecoverRequest asks to take groups over into this control plane, from what one region's bucket holds.
type RecoverRequest struct {
	Region string   `json:"region"`
	Groups []string `json:"groups,omitempty"` // default: all in that bucket
	Force  bool     `json:"force,omitempty"`  // although another bucket decides, which cannot be asked
}

// Recoverable is a group as a region's bucket knows it, and what taking it over would mean.
type Recoverable struct {
	Group   topology.Group   `json:"group"`
	Preview *FailoverPreview `json:"preview,omitempty"` // nil when the region serves it already, or nothing is replicated
	Refused string           `json:"refused,omitempty"` // why it cannot be taken over without force
	Hint    string           `json:"hint,omitempty"`
}

// PreviewRecover lists what Recover would take over. It needs no Temporal and changes nothing.
func (s *Service) PreviewRecover(_ context.Context, _ RecoverRequest) ([]Recoverable, error) {
	return nil, fault.Newf(fault.Invalid, "recover", "not there yet")
}

// Recover makes this control plane the only one that acts for a group, and starts its Replication.
func (s *Service) Recover(_ context.Context, _ RecoverRequest, _ string) (topology.Group, error) {
	return topology.Group{}, fault.Newf(fault.Invalid, "recover", "not there yet")
}
