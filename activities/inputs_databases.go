package activities

import "github.com/smartdr/smartdr/internal/topology"

// InspectDatabasesInput is a server whose databases are to be chosen among.
type InspectDatabasesInput struct {
	Group     string          `json:"group"`
	Workspace string          `json:"workspace"`
	Source    topology.Source `json:"source"`
	// Choice, if any, is judged: what would be left out must be such that it can be dropped after a failover.
	Choice *topology.Replication `json:"choice,omitempty"`
}

// InspectDatabasesResult is what the server has.
type InspectDatabasesResult struct {
	Databases []string          `json:"databases"` // names, without templates
	Endpoint  topology.Endpoint `json:"endpoint"`  // the hosts of the connection string
	Warnings  []string          `json:"warnings,omitempty"`
}

// RecordDatabasesInput is a change of the choice to record in the catalog.
type RecordDatabasesInput struct {
	Group   string                  `json:"group"`
	Change  topology.DatabaseChange `json:"change"`
	Present topology.Present        `json:"present"` // what was found on the servers
}

// RecordDatabasesResult is the group with its new choice.
type RecordDatabasesResult struct {
	Group topology.Group `json:"group"`
	Notes []string       `json:"notes,omitempty"`
}

// WatchSnapshotResult says why the newest snapshot does not bring back all that should be; without a reason the turn is over.
type WatchSnapshotResult struct {
	Reason string `json:"reason,omitempty"`
}
