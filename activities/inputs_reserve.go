package activities

import "github.com/smartdr/smartdr/internal/topology"

// PlanReservationsResult says which places are to be kept, and where: on hosts that have room for what they are for.
type PlanReservationsResult struct {
	Wanted []topology.Wanted `json:"wanted,omitempty"`
}

// ReservePlaceInput asks a host to keep a port for a workspace.
type ReservePlaceInput struct {
	Group     string `json:"group"`
	Workspace string `json:"workspace"`
	Port      int    `json:"port,omitempty"` // the one that its server here has; 0: any
}

// RecordReservationsInput are places that hosts keep.
type RecordReservationsInput struct {
	Group string     `json:"group"`
	Kept  []Reserved `json:"kept"`
}

// Reserved is a place that is kept for a workspace.
type Reserved struct {
	Workspace   string               `json:"workspace"`
	Region      string               `json:"region"`
	Reservation topology.Reservation `json:"reservation"`
}
