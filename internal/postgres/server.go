// Package postgres controls one PostgreSQL server on this host: finds binaries, makes clusters, starts, stops, promotes,
// reads pg_control, and describes the server in a file so that another process can take over.
package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

var errTodo = errors.New("not built yet")

// Binaries is one PostgreSQL installation.
type Binaries struct {
	BinDir  string `json:"binDir"`
	Version int    `json:"version"` // as server_version_num: 150018
}

// Major returns the major version.
func (b Binaries) Major() int { return b.Version / 10000 }

// Account is the operating system user that a server runs as.
type Account struct {
	Name string `json:"name"`
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
}

// StopMode is pg_ctl's -m.
type StopMode string

const (
	Smart     StopMode = "smart"     // waits for clients to leave
	Fast      StopMode = "fast"      // disconnects clients, waits for walsenders to be acknowledged
	Immediate StopMode = "immediate" // leaves without a checkpoint
)

// Server is one PostgreSQL server on this host.
type Server struct {
	Bin       Binaries          `json:"bin"`
	DataDir   string            `json:"dataDir"`
	SocketDir string            `json:"socketDir"`
	LogFile   string            `json:"logFile"`
	Listen    string            `json:"listen"`
	Port      int               `json:"port"`
	Superuser string            `json:"superuser"`
	Settings  map[string]string `json:"settings,omitempty"`
	Account   *Account          `json:"account,omitempty"`

	DieWithParent bool `json:"-"`
}

// Minimums are the settings that a standby must not have lower than its primary (hot_standby).
type Minimums struct {
	MaxConnections          int `json:"maxConnections"`
	MaxWorkerProcesses      int `json:"maxWorkerProcesses"`
	MaxWALSenders           int `json:"maxWALSenders"`
	MaxPreparedTransactions int `json:"maxPreparedTransactions"`
	MaxLocksPerTransaction  int `json:"maxLocksPerTransaction"`
}

// Control is what pg_control says.
type Control struct {
	SystemID         string
	State            string // as pg_controldata prints it
	CheckpointTLI    wal.Timeline
	MinRecoveryPoint wal.Position
	SegmentSize      wal.SegmentSize
	Checksums        bool
	Minimums         Minimums
}

// InitOptions are the choices of initdb.
type InitOptions struct {
	Checksums   bool
	SegmentSize wal.SegmentSize // 0 means 16 MiB
	Locale      string          // default "C.UTF-8"
	NoSync      bool            // for tests
}

func Find(major int, dirs []string) (Binaries, error)                  { return Binaries{}, errTodo }
func FindAny(dirs []string) (Binaries, error)                          { return Binaries{}, errTodo }
func FindAll(dirs []string) []Binaries                                 { return nil }
func DefaultAccount() (*Account, error)                                { return nil, errTodo }
func Load(instanceDir string) (*Server, error)                         { return nil, errTodo }
func (s *Server) Save() error                                          { return errTodo }
func (s *Server) InstanceDir() string                                  { return "" }
func (s *Server) Init(ctx context.Context, o InitOptions) error        { return errTodo }
func (s *Server) Launch(ctx context.Context) error                     { return errTodo }
func (s *Server) Start(ctx context.Context) error                      { return errTodo }
func (s *Server) Stop(ctx context.Context, m StopMode) error           { return errTodo }
func (s *Server) Kill(ctx context.Context) error                       { return errTodo }
func (s *Server) Reload(ctx context.Context) error                     { return errTodo }
func (s *Server) Promote(ctx context.Context) error                    { return errTodo }
func (s *Server) Running(ctx context.Context) (pid int, running bool)  { return 0, false }
func (s *Server) Ready(ctx context.Context) error                      { return errTodo }
func (s *Server) ControlData(ctx context.Context) (Control, error)     { return Control{}, errTodo }
func (s *Server) WriteHBA(rules string) error                          { return errTodo }
func (s *Server) Source(database string) topology.Source               { return topology.Source{} }
func Open(ctx context.Context, src topology.Source) (*pgx.Conn, error) { return nil, errTodo }
func ReplaceableInvalidControl(b []byte) ([]byte, error)               { return nil, errTodo }
