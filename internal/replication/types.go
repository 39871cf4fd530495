// Package replication speaks PostgreSQL's streaming replication protocol: the physical WAL stream and BASE_BACKUP.
// The manual's chapter "Streaming Replication Protocol" defines the messages; the rest is in walsender.c and
// basebackup_copy.c of the server.
package replication

import (
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

// System is what IDENTIFY_SYSTEM says.
type System struct {
	ID         string       // system identifier, decimal; clones share it
	Position   wal.Position // timeline and flush position; on a standby what it has received or replayed
	InRecovery bool         // whether the server was a standby when the connection was made
}

// Slot is what READ_REPLICATION_SLOT says. A slot that was lost or never reserved WAL exists without a RestartLSN.
type Slot struct {
	Exists          bool
	RestartLSN      wal.LSN      // 0 when the slot holds no WAL
	RestartTimeline wal.Timeline // 0 when the slot holds no WAL
}

// Message is one thing that a stream receives: Data, Keepalive, EndOfTimeline or Shutdown.
type Message interface{ message() }

// Data is a run of WAL bytes. It can end anywhere, also inside a record.
type Data struct {
	Start     wal.LSN
	ServerEnd wal.LSN   // the server's flush position when it sent this
	SentAt    time.Time // the server's clock
	Bytes     []byte    // valid until the next Receive
}

// Keepalive says how far the server is when there is nothing to send.
type Keepalive struct {
	ServerEnd      wal.LSN
	SentAt         time.Time // the server's clock
	ReplyRequested bool      // answer at once, or the server drops the connection
}

// EndOfTimeline says that the streamed timeline ended at Switch, which may lie below bytes already received, and that
// Next goes on from there. The stream is over, and its connection can be used for the next command.
type EndOfTimeline struct {
	Next   wal.Timeline
	Switch wal.LSN
}

// Shutdown says that the server ended the stream because it shuts down. It does so only after everything up to
// its last record was acknowledged as flushed; the connection is over.
type Shutdown struct{}

func (Data) message()          {}
func (Keepalive) message()     {}
func (EndOfTimeline) message() {}
func (Shutdown) message()      {}

// BaseBackupOptions are the choices that BASE_BACKUP leaves us.
type BaseBackupOptions struct {
	Label           string // default "smartdr"
	FastCheckpoint  bool   // an immediate checkpoint, else one that is spread over minutes
	MaxRateKB       int    // kB/s from 32 to 1048576; 0 means no limit
	VerifyChecksums bool   // the server checks each page; a bad one fails the backup after all data was sent
}

// Tablespace is one entry of a backup's header. The main data directory has OID 0.
type Tablespace struct {
	OID      uint32
	Location string // absolute path on the source; empty for the main data directory
	SizeKB   int64  // estimate, made when the backup began
}
