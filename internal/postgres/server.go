// Package postgres controls one PostgreSQL server on this host: finds binaries, makes clusters, starts, stops, promotes,
// reads pg_control, and describes the server in a file so that another process can take over.
//
// A server has a folder of its own, the instance folder:
//
//	data/           the data directory
//	instance.json   the Server value
//	pg_hba.conf     who may connect; ours, whatever the data directory holds
//	pg_ident.conf
package postgres

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/smartdr/smartdr/internal/fault"
)

// StopMode is pg_ctl's -m.
type StopMode string

const (
	// Smart waits for clients to leave.
	Smart StopMode = "smart"
	// Fast disconnects clients, and waits until receivers of WAL have acknowledged everything.
	Fast StopMode = "fast"
	// Immediate leaves without a checkpoint, as a crash would.
	Immediate StopMode = "immediate"
)

// Server is one PostgreSQL server on this host. A process that starts one owns it no longer than it wants: the server
// outlives it, and another process that loads the same description controls it.
type Server struct {
	Bin       Binaries          `json:"bin"`
	DataDir   string            `json:"dataDir"`            // absolute; its parent is the instance folder
	SocketDir string            `json:"socketDir"`          // made with mode 0700; at most 90 bytes
	LogFile   string            `json:"logFile"`            // the server's stderr, appended
	Listen    string            `json:"listen"`             // listen_addresses; empty for the local socket only
	Port      int               `json:"port"`               // also names the socket
	Superuser string            `json:"superuser"`          // the role that this host controls the server with, through the socket
	Settings  map[string]string `json:"settings,omitempty"` // given as -c; visible to every user of this host, so no secrets
	Account   *Account          `json:"account,omitempty"`  // nil: the account of this process

	// DieWithParent ends the server when the process that started it dies. For tests.
	DieWithParent bool `json:"-"`

	child *child // the server, if this process started it
}

// instanceFile is the name of a Server's description in its instance folder.
const instanceFile = "instance.json"

// InstanceDir returns the folder that holds the data directory and everything of ours that belongs to it.
func (s *Server) InstanceDir() string { return filepath.Dir(s.DataDir) }

// HBAFile returns the path of the file that says who may connect.
func (s *Server) HBAFile() string { return filepath.Join(s.InstanceDir(), "pg_hba.conf") }

// IdentFile returns the path of the file that maps this host's users to roles.
func (s *Server) IdentFile() string { return filepath.Join(s.InstanceDir(), "pg_ident.conf") }

// Save writes the server's description into its instance folder, in one step.
func (s *Server) Save() error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fault.New(fault.Invalid, "describe server", err)
	}
	return s.writeFile(filepath.Join(s.InstanceDir(), instanceFile), append(b, '\n'))
}

// Load reads the description that Save wrote. It fails with fault.Missing when there is none.
func Load(instanceDir string) (*Server, error) {
	const op = "load server description"
	b, err := os.ReadFile(filepath.Join(instanceDir, instanceFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Missing, op, err)
	}
	if err != nil {
		return nil, fault.New(fault.Transient, op, err)
	}
	s := &Server{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fault.New(fault.Corrupt, op, err)
	}
	return s, nil
}

// dataPath returns the path of a file in the data directory.
func (s *Server) dataPath(name string) string { return filepath.Join(s.DataDir, name) }
