package activities

import "github.com/smartdr/smartdr/internal/topology"

// TakeControlInput asks to make this worker's control plane the only one that acts for a group.
type TakeControlInput struct {
	Group string `json:"group"`
	By    string `json:"by,omitempty"`    // for people
	Force bool   `json:"force,omitempty"` // although the bucket that decides cannot be asked
}

// ProtectionInput asks to record whether a group could fail over, as it was found.
type ProtectionInput struct {
	Group string              `json:"group"`
	Found topology.Protection `json:"found"`
}

// ProtectionResult says what holds now, and whether that is news.
type ProtectionResult struct {
	Protection topology.Protection `json:"protection"`
	Changed    bool                `json:"changed"`
}

// MoveAuthorityInput asks to let another region's bucket decide over a group that is found as described.
type MoveAuthorityInput struct {
	Group string         `json:"group"`
	To    string         `json:"to"`    // region
	Epoch topology.Epoch `json:"epoch"` // under which the group was found
}
