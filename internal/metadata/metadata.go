// Package metadata captures what a base backup does not carry, or what a restored server must not inherit: settings,
// access rules, extensions, databases, tablespaces. It compares that with a host, and writes the settings and access
// rules of a restored server. It captures no secret.
package metadata

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/wal"
)

// Metadata is what a server said of itself.
type Metadata struct {
	CapturedAt    time.Time `json:"capturedAt"`
	ServerVersion int       `json:"serverVersion"` // server_version_num
	SystemID      string    `json:"systemID,omitempty"`
	Superuser     bool      `json:"superuser"` // captured by a superuser

	Settings      []Setting      `json:"settings"` // those that are not default
	HBA           []HBARule      `json:"hba,omitempty"`
	HBAKnown      bool           `json:"hbaKnown"` // false: the rules could not be read
	Ident         []IdentMapping `json:"ident,omitempty"`
	RoleSettings  []RoleSetting  `json:"roleSettings,omitempty"`
	Superusers    []string       `json:"superusers"` // that may log in; the bootstrap superuser first
	Databases     []Database     `json:"databases"`
	Tablespaces   []Tablespace   `json:"tablespaces,omitempty"`
	Extensions    []Extension    `json:"extensions"`
	Subscriptions []string       `json:"subscriptions,omitempty"` // "database.name", enabled ones

	Notes []string `json:"notes,omitempty"` // what could not be read, and what an operator should know
}

// Setting is one row of pg_settings.
type Setting struct {
	Name     string `json:"name"`
	Value    string `json:"value"` // as SHOW prints it, with its unit; "" when Redacted
	Source   string `json:"source"`
	Redacted bool   `json:"redacted,omitempty"`
}

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

// Extension is one extension of one database.
type Extension struct {
	Database string `json:"database"`
	Name     string `json:"name"`
	Version  string `json:"version"`
}

// Problem is a reason why a server would not run, or not be whole, on a host; and what to do.
type Problem struct {
	Text     string `json:"text"`
	Todo     string `json:"todo"`
	Blocking bool   `json:"blocking"` // the restore must not begin
}

func (p Problem) String() string { return p.Text + " " + p.Todo }

var errTodo = errors.New("not built yet")

// Capture reads a server's metadata.
func Capture(ctx context.Context, conn *pgx.Conn) (Metadata, error) { return Metadata{}, errTodo }

// Host is what a host offers a restored server.
type Host struct {
	Major       int
	Extensions  map[string]bool
	Libraries   map[string]bool
	Locales     map[string]bool // nil: unknown
	FreeBytes   int64
	MemoryBytes int64
}

// Inspect reads what a host offers.
func Inspect(ctx context.Context, bin postgres.Binaries, dataDir string) (Host, error) {
	return Host{}, errTodo
}

// Compare says what is missing on a host for a server with metadata m whose restore takes needBytes of disk.
func Compare(m Metadata, h Host, needBytes int64) []Problem { return nil }

// Place is where a restored server is to run.
type Place struct {
	DataDir    string
	SocketDir  string
	Listen     string
	Port       int
	HBAFile    string // empty: the one in DataDir
	IdentFile  string
	ConfigFile string
	Admin      string            // the superuser that SmartDR connects as, through the socket
	Replicator string            // the role that ships from there; empty means Admin
	Isolated   bool              // a drill or a branch: no background jobs
	Minimums   wal.Parameters // the largest that the WAL asks for
	Host       Host
	Readable   func(path string) bool // whether a file of the host can be read by the server; nil: none
}

// Overrides returns the settings that a restored server is started with by -c, and what differs from the primary and why.
func Overrides(m Metadata, p Place) (settings map[string]string, notes []string) { return nil, nil }

// ConfigFile writes a postgresql.conf.
func ConfigFile(m Metadata, p Place) (text string) { return "" }

// NeedsConfigFile reports whether the primary's postgresql.conf is not, or not all, in its data directory.
func NeedsConfigFile(m Metadata) bool { return false }

// HBA writes the pg_hba.conf of a restored server.
func HBA(m Metadata, p Place) (text string, notes []string) { return "", nil }

// Ident writes the pg_ident.conf of a restored server.
func Ident(m Metadata) string { return "" }

// FileErrors asks a running server what is wrong with its access rules and settings files.
func FileErrors(ctx context.Context, conn *pgx.Conn) ([]string, error) { return nil, errTodo }
