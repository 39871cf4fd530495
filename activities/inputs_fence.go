package activities

// FenceInput names the server to fence: the one that writes a lineage.
type FenceInput struct {
	Group     string `json:"group"`
	Workspace string `json:"workspace"`
	Lineage   string `json:"lineage"`
	Operation string `json:"operation"`
	// Before the claim of the epoch, as in a switchover: the fence holds until CommitFence or LiftFence.
	Before bool `json:"before,omitempty"`
}
