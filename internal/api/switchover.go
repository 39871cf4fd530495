package api

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// SwitchoverRequest asks to move a group to its other region without losing anything.
type SwitchoverRequest struct {
	Group string `json:"group"`
	To    string `json:"to,omitempty"` // region; default: the one that does not serve now
	// MaxGap is the longest time without a writer, as "30s" (default).
	MaxGap string `json:"maxGap,omitempty"`
	// Home asks for a failback: to the primary region, and what served the group elsewhere is taken down.
	Home bool `json:"home,omitempty"`
}

// SwitchoverPreview says what a switchover or failback would do.
type SwitchoverPreview struct {
	Group string         `json:"group"`
	Kind  string         `json:"kind"` // "Switchover" or "Failback"
	From  string         `json:"from"`
	To    string         `json:"to"`
	Now   topology.Group `json:"-"`
}

// PreviewSwitchover says what would happen, and refuses what cannot be done. It changes nothing.
func (s *Service) PreviewSwitchover(ctx context.Context, req SwitchoverRequest) (SwitchoverPreview, error) {
	return SwitchoverPreview{}, fault.Newf(fault.Invalid, "switchover", "not there yet")
}

// StartSwitchover starts a switchover or a failback, and does not wait for it.
func (s *Service) StartSwitchover(ctx context.Context, req SwitchoverRequest) (Started, error) {
	return Started{}, fault.Newf(fault.Invalid, "switchover", "not there yet")
}
