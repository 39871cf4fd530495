package activities

import "time"

// SearchInput asks when a query returned rows for the last time.
type SearchInput struct {
	Group     string    `json:"group"`
	Workspace string    `json:"workspace"`
	Region    string    `json:"region"`
	Database  string    `json:"database"`
	Query     string    `json:"query"`
	From      time.Time `json:"from,omitzero"` // zero: where the newest window begins
	To        time.Time `json:"to,omitzero"`   // zero: the newest point
	ID        string    `json:"id"`            // of the folder in which states of the past are brought up
}

// PlaceSearchResult is where a search runs.
type PlaceSearchResult struct {
	Host string `json:"host"`
}

// SearchMoment is a commit that a search met.
type SearchMoment struct {
	LSN  string    `json:"lsn"`
	Time time.Time `json:"time,omitzero"`
	XID  uint32    `json:"xid,omitempty"`
}

// SearchFound is what a search found.
type SearchFound struct {
	Found  bool          `json:"found"`
	Last   SearchMoment  `json:"last,omitzero"` // the newest point that was looked at where the query returned rows
	Next   *SearchMoment `json:"next,omitempty"`
	Looked int           `json:"looked"`
	Notes  []string      `json:"notes,omitempty"`
}
