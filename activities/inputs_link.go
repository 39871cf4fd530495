package activities

import "github.com/smartdr/smartdr/internal/topology"

// LinkInput names a link: a database of an attached branch, and the schema in a database that serves which shows it.
type LinkInput struct {
	Group    string `json:"group"`
	Branch   string `json:"branch"`
	Of       string `json:"of"`       // database of the branch
	Database string `json:"database"` // of the workspace that serves
	Schema   string `json:"schema"`
	// Key is the public key that the serving side has answered with, where the two agree on a password.
	Key string `json:"key,omitempty"`
}

// LinkAccess is how the server that serves reaches a branch's database.
type LinkAccess struct {
	Attachment string `json:"attachment"` // of the branch; another one is another server
	Workspace  string `json:"workspace"`
	Host       string `json:"host"` // address, or the folder of a socket
	Port       int    `json:"port"`
	User       string `json:"user"`
	// Peer: the operating system says who connects, and there is no password. Else the password follows from Key, the branch's public key,
	// and that of the other side, and neither side ever tells it.
	Peer bool   `json:"peer,omitempty"`
	Key  string `json:"key,omitempty"`
}

// ShowLinkInput is a link with the way to the branch.
type ShowLinkInput struct {
	LinkInput
	Access LinkAccess `json:"access"`
}

// MadeLink is a foreign server that was made.
type MadeLink struct {
	Server string `json:"server"`
	Key    string `json:"key,omitempty"` // public key of the serving side, unless the way needs no password
}

// FilledLink says what a link shows.
type FilledLink struct {
	Tables int      `json:"tables"`
	Notes  []string `json:"notes,omitempty"` // what it does not show, and why
}

// RemoveLinkInput names a link to take out of a database that serves.
type RemoveLinkInput struct {
	Group     string        `json:"group"`
	Workspace string        `json:"workspace"`
	Link      topology.Link `json:"link"`
}

// RecordLinkInput is a link to record with the attachment that it shows, or to forget.
type RecordLinkInput struct {
	Group      string        `json:"group"`
	Branch     string        `json:"branch"`
	Attachment string        `json:"attachment"`
	Link       topology.Link `json:"link"`
	Remove     bool          `json:"remove,omitempty"`
}
