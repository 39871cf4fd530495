// Package metadata captures what a base backup does not carry, or what a restored server must not inherit: settings,
// access rules, extensions, databases, tablespaces. It compares that with a host, and writes the settings and access
// rules of a restored server. It captures no secret.
package metadata

import (
	"slices"
	"time"
)

// Metadata is what a server said of itself.
type Metadata struct {
	CapturedAt    time.Time `json:"capturedAt"`
	ServerVersion int       `json:"serverVersion"` // server_version_num
	SystemID      string    `json:"systemID,omitempty"`
	Managed       bool      `json:"-"`         // SmartDR ran the server, as the catalog knows: some of its command line was for that place alone
	Superuser     bool      `json:"superuser"` // captured by a superuser

	Settings     []Setting             `json:"settings"`               // that files or the command line set, and a few others
	FileSettings []FileSetting         `json:"fileSettings,omitempty"` // lines of files, in the order in which they are read
	FilesKnown   bool                  `json:"filesKnown,omitempty"`   // false: the lines could not be read
	HBA          []HBARule             `json:"hba,omitempty"`
	HBAKnown     bool                  `json:"hbaKnown"` // false: the rules could not be read
	Ident        []IdentMapping        `json:"ident,omitempty"`
	RoleSettings []RoleSetting         `json:"roleSettings,omitempty"`
	Superusers   []string              `json:"superusers"` // that may log in; the bootstrap superuser first
	Databases    []Database            `json:"databases"`
	Tablespaces  []Tablespace          `json:"tablespaces,omitempty"`
	Extensions   []Extension           `json:"extensions"`
	Collations   []Collation           `json:"collations,omitempty"` // that tables and indexes use, beside the databases' own
	Unlogged     []Unlogged            `json:"unlogged,omitempty"`
	Prepared     []PreparedTransaction `json:"prepared,omitempty"` // that have been open for more than a minute
	Pipelines    Pipelines             `json:"pipelines,omitzero"`
	Unread       []string              `json:"unread,omitempty"` // databases that could not be connected to

	Notes []string `json:"notes,omitempty"` // what could not be read, and what an operator should know
}

// Setting is one row of pg_settings.
type Setting struct {
	Name     string `json:"name"`
	Value    string `json:"value"`  // as SHOW prints it, with its unit; "" when Redacted
	Source   string `json:"source"` // as in pg_settings
	Redacted bool   `json:"redacted,omitempty"`
	Default  bool   `json:"-"` // its value is the default, although the server was started with it
}

// Setting returns the value of a captured setting; "" for one that was not captured.
func (m Metadata) Setting(name string) string {
	i := slices.IndexFunc(m.Settings, func(s Setting) bool { return s.Name == name })
	if i < 0 {
		return ""
	}
	return m.Settings[i].Value
}

// list returns the items of a captured setting that is a comma-separated list.
func (m Metadata) list(name string) []string { return splitList(m.Setting(name)) }

// HBARule is one rule of pg_hba_file_rules, without secrets.
type HBARule struct {
	Type      string   `json:"type"` // local, host, hostssl, ...
	Databases []string `json:"databases"`
	Users     []string `json:"users"`
	Address   string   `json:"address,omitempty"`
	Netmask   string   `json:"netmask,omitempty"`
	Method    string   `json:"method"`
	Options   []string `json:"options,omitempty"`  // name=value
	Redacted  bool     `json:"redacted,omitempty"` // an option held a secret and was left out
}

// IdentMapping is one row of pg_ident_file_mappings.
type IdentMapping struct {
	Map      string `json:"map"`
	System   string `json:"system"`
	Username string `json:"username"`
}

// RoleSetting is a setting of a database, a role, or a role in a database (pg_db_role_setting). Values are kept for
// library lists only.
type RoleSetting struct {
	Database string `json:"database,omitempty"`
	Role     string `json:"role,omitempty"`
	Name     string `json:"name"`
	Value    string `json:"value,omitempty"`
}

// Database is one row of pg_database.
type Database struct {
	Name             string `json:"name"`
	OID              uint32 `json:"oid"`
	SizeBytes        int64  `json:"sizeBytes"` // -1 when it could not be read
	Template         bool   `json:"template,omitempty"`
	AllowConnections bool   `json:"allowConnections"`
	Invalid          bool   `json:"invalid,omitempty"` // what an interrupted DROP DATABASE left
	Provider         string `json:"provider"`          // c, i or b
	Collate          string `json:"collate"`
	CType            string `json:"ctype"`
	CollationVersion string `json:"collationVersion,omitempty"` // recorded; empty is unknown
	CollationActual  string `json:"collationActual,omitempty"`  // of the library the server runs with
}

// Tablespace is one row of pg_tablespace.
type Tablespace struct {
	OID      uint32 `json:"oid"`
	Name     string `json:"name"`
	Location string `json:"location"`
	InPlace  bool   `json:"inPlace,omitempty"` // a directory in pg_tblspc
}

// Unlogged says how many tables of a database are unlogged.
type Unlogged struct {
	Database string `json:"database"`
	Tables   int    `json:"tables"`
}

// Extension is one extension of one database.
type Extension struct {
	Database string `json:"database"`
	Name     string `json:"name"`
	Version  string `json:"version"`
}

// Problem is a reason why a server would not run, or not be whole, on a host; and what to do.
type Problem struct {
	Name     string `json:"name,omitempty"` // of the extension, library, locale, ... that it is about
	Check    string `json:"check"`          // what was compared: "postgres", "extensions", "libraries", "disk", "locales", "collations", "memory"
	Text     string `json:"text"`
	Todo     string `json:"todo"`
	Blocking bool   `json:"blocking"` // the restore must not begin
}

func (p Problem) String() string { return p.Text + " " + p.Todo }
