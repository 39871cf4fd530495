package activities

import "encoding/json"

// HooksInput asks which hooks want an event.
type HooksInput struct {
	Event string `json:"event"` // its type
	Group string `json:"group"`
	All   bool   `json:"all,omitempty"` // also hooks that do not want this type
}

// Hook names a hook, and where its deliveries are made.
type Hook struct {
	Name   string `json:"name"`
	Region string `json:"region,omitempty"` // empty: any
	Host   string `json:"host,omitempty"`   // of Region; empty: any
}

// DeliverEventInput is one event to deliver to one hook.
type DeliverEventInput struct {
	Hook string          `json:"hook"`
	ID   string          `json:"id"` // of the event: the same in each attempt
	Type string          `json:"type"`
	Body json.RawMessage `json:"body"` // as it is sent and signed
}

// DeliverEventResult is a delivery that was taken.
type DeliverEventResult struct {
	Answer  string  `json:"answer"` // in a line, as "204 No Content" or "exit code 0"
	Seconds float64 `json:"seconds"`
	Attempt int32   `json:"attempt"`
	Host    string  `json:"host"` // whose worker delivered it
}
