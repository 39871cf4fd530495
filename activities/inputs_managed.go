package activities

import (
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// NewServer is a server to make for a managed workspace.
type NewServer struct {
	Group     string            `json:"group"`
	Workspace string            `json:"workspace"`
	Epoch     topology.Epoch    `json:"epoch"`          // of the group
	Region    string            `json:"region"`         // that serves
	Host      string            `json:"host,omitempty"` // asked for; empty: any with room
	Postgres  int               `json:"postgres"`       // major version; 0: the newest that the host has
	Size      topology.Size     `json:"size"`
	Settings  map[string]string `json:"settings,omitempty"`
	HBA       []string          `json:"hba,omitempty"`
	Ident     []string          `json:"ident,omitempty"`
	Firewall  topology.Firewall `json:"firewall,omitzero"`
	Init      InitOptions       `json:"init,omitzero"`
}

// InitOptions are the choices of initdb.
type InitOptions struct {
	NoChecksums bool            `json:"noChecksums,omitempty"`
	SegmentSize wal.SegmentSize `json:"segmentSize,omitempty"` // 0: 16 MiB
	Locale      string          `json:"locale,omitempty"`      // empty: C.UTF-8
	ICULocale   string          `json:"icuLocale,omitempty"`
}

// PlaceServersInput asks for a host for each server.
type PlaceServersInput struct {
	Region  string      `json:"region"`
	Servers []NewServer `json:"servers"`
}

// PlaceServersResult is the host of each server, in the order in which they were asked for.
type PlaceServersResult struct {
	Hosts []string `json:"hosts"`
}

// MakeServerResult is a server that runs, and how it is reached.
type MakeServerResult struct {
	Site         topology.Site `json:"site"`
	Version      int           `json:"version"`      // server_version_num
	PasswordFile string        `json:"passwordFile"` // on the host: the password of role admin
}

// ServerInput names the server of a managed workspace in a region.
type ServerInput struct {
	Group     string `json:"group"`
	Workspace string `json:"workspace"`
	Region    string `json:"region"`
}

// CheckChangeInput is a managed workspace as it is to be.
type CheckChangeInput struct {
	ServerInput
	Size     topology.Size     `json:"size,omitzero"`
	Settings map[string]string `json:"settings,omitempty"`
	HBA      []string          `json:"hba,omitempty"`
	Ident    []string          `json:"ident,omitempty"`
	Firewall topology.Firewall `json:"firewall,omitzero"`
}

// ApplyServerInput asks to bring a server in line with the catalog.
type ApplyServerInput struct {
	ServerInput
	Reset   []string `json:"reset,omitempty"` // settings that are no longer chosen
	Restart bool     `json:"restart"`         // if something waits for it
}

// ApplyServerResult says what was done.
type ApplyServerResult struct {
	Notes []string `json:"notes,omitempty"`
}

// StopServerInput asks to end a server.
type StopServerInput struct {
	ServerInput
	Force bool `json:"force"` // also with WAL that was not shipped
}
