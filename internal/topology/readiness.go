package topology

import "time"

// ReadinessState says what a check found.
type ReadinessState string

const (
	// ReadinessOK items are as they should be.
	ReadinessOK ReadinessState = "ok"
	// ReadinessWarning items let a failover happen, with something to know or to do.
	ReadinessWarning ReadinessState = "warning"
	// ReadinessBlocking items would make a failover fail, or lose what it should not.
	ReadinessBlocking ReadinessState = "blocking"
)

// ReadinessItem is one check of whether a failover would work now.
type ReadinessItem struct {
	Check     string         `json:"check"` // "snapshot age", "lag", "disk", ...
	Workspace string         `json:"workspace,omitempty"`
	State     ReadinessState `json:"state"`
	Text      string         `json:"text"`           // what was found, with its figures
	Todo      string         `json:"todo,omitempty"` // unless ok
}

// DriftItem is one difference between what the primary has and what the secondary would get.
type DriftItem struct {
	Workspace string `json:"workspace"`
	Kind      string `json:"kind"` // "setting", "access rule", "library", "extension", "database", "subscription", "slot", ...
	Name      string `json:"name"`
	Primary   string `json:"primary,omitempty"`
	Secondary string `json:"secondary,omitempty"`
	Text      string `json:"text"` // in a sentence, and what to do if anything
}

// Readiness says whether a failover would work now (catalog document readiness.json of a group).
type Readiness struct {
	Group     string          `json:"group"`
	Epoch     Epoch           `json:"epoch"`
	To        string          `json:"to"` // region that a failover would go to
	CheckedAt time.Time       `json:"checkedAt"`
	State     ReadinessState  `json:"state"` // the worst of all items
	Items     []ReadinessItem `json:"items"`
	Drift     []DriftItem     `json:"drift,omitempty"`
}
