package activities

import "github.com/smartdr/smartdr/internal/topology"

// ListTailsInput names the group whose open tails are asked for.
type ListTailsInput struct {
	Group string `json:"group"`
}

// ListTailsResult names the tails that are not complete.
type ListTailsResult struct {
	Tails []OpenTail `json:"tails,omitempty"`
}

// OpenTail is a tail that is not complete, and where the server is that wrote it.
type OpenTail struct {
	Tail   topology.Tail `json:"tail"`
	Region string        `json:"region"`
	Host   string        `json:"host,omitempty"` // of a server that SmartDR made; empty: any in the region reaches it
}

// TailInput names a lineage that was left.
type TailInput struct {
	Group     string `json:"group"`
	Workspace string `json:"workspace"`
	Lineage   string `json:"lineage"`
	// TurnSeconds is how long ShipTail tries before it says how far it is.
	TurnSeconds int `json:"turnSeconds,omitempty"`
	// Files is the pg_wal folder of an adopted server that does not run, on the host where the activity runs.
	Files string `json:"files,omitempty"`
}
