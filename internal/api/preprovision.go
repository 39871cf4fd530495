package api

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
)

// PreprovisionRequest asks to keep standbys in the region that does not serve, or to take them away.
type PreprovisionRequest struct {
	Group string `json:"group"`
	Stop  bool   `json:"stop,omitempty"`
}

// Preprovision starts or ends the group's standbys. It does not wait until they have caught up.
func (s *Service) Preprovision(ctx context.Context, req PreprovisionRequest) (ChangedGroup, error) {
	return ChangedGroup{}, fault.Newf(fault.Invalid, "preprovision", "not there yet")
}
