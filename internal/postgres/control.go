package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// State is the state of a cluster in pg_control, in pg_controldata's words.
type State string

// The states that decide something here.
const (
	ShutDown          State = "shut down"
	InArchiveRecovery State = "in archive recovery"
	InProduction      State = "in production"
)

// states is enum DBState of pg_control.h.
var states = []State{
	"starting up", ShutDown, "shut down in recovery", "shutting down", "in crash recovery", InArchiveRecovery, InProduction,
}

// Control is what pg_control says.
type Control struct {
	SystemID         string // decimal
	State            State
	Checkpoint       wal.Position // the last checkpoint: its timeline, and where its record begins
	Redo             wal.LSN      // where recovery from it begins
	MinRecoveryPoint wal.Position // zero unless recovery is under way
	SegmentSize      wal.SegmentSize
	Checksums        bool           // pages have checksums
	Minimums         wal.Parameters // what a standby must have at least
}

// Timeline returns the newest timeline that the cluster is committed to.
func (c Control) Timeline() wal.Timeline {
	return max(c.Checkpoint.Timeline, c.MinRecoveryPoint.Timeline)
}

// Offsets in ControlFileData (src/include/catalog/pg_control.h), the same in versions 13 to 18 on 64-bit machines.
const (
	offSystemID      = 0
	offVersion       = 8
	offState         = 16
	offCheckpoint    = 32
	offRedo          = 40
	offCheckpointTLI = 48
	controlFileSize  = 8192
)

// Offsets from floatFormat, a constant that stands in the middle of ControlFileData: versions differ in the length of
// the checkpoint's copy before these, and in what comes after.
const (
	relMinRecovery    = -72
	relMinRecoveryTLI = -64
	relWALLevel       = -36
	relWALLogHints    = -32
	relMaxConnections = -28 // then worker processes, WAL senders, prepared transactions, locks: 4 bytes each
	relTrackCommit    = -8
	relSegmentSize    = 20
	relChecksums      = 44
)

// floatFormat is FLOATFORMAT_VALUE.
const floatFormat = 1234567.0

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ControlFile returns the path of pg_control below a data directory.
const ControlFile = "global/pg_control"

// ControlData reads pg_control, also of a running server. It fails with fault.Missing when there is none and
// fault.Corrupt when its checksum does not hold.
func (s *Server) ControlData(ctx context.Context) (Control, error) {
	const op = "read pg_control"
	var c Control
	for tries := 0; ; tries++ {
		b, err := os.ReadFile(s.dataPath(ControlFile))
		if errors.Is(err, fs.ErrNotExist) {
			return Control{}, fault.New(fault.Missing, op, err)
		}
		if err != nil {
			return Control{}, fault.New(fault.Transient, op, err)
		}
		if c, err = ParseControl(b); err == nil || tries == 5 {
			return c, err
		}
		// The server writes it without a lock that readers could take.
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return Control{}, err
		}
	}
}

// ParseControl reads the content of pg_control of PostgreSQL 15 to 18. Errors are fault.Corrupt.
func ParseControl(b []byte) (Control, error) {
	const op = "read pg_control"
	if _, err := controlCRC(b); err != nil {
		return Control{}, fault.New(fault.Corrupt, op, err)
	}
	anchor := binary.LittleEndian.AppendUint64(nil, math.Float64bits(floatFormat))
	at := bytes.Index(b, anchor)
	state := le32(b[offState:])
	if at < 112 || int(state) >= len(states) {
		return Control{}, fault.Newf(fault.Corrupt, op, "the layout is unknown (version %d)", le32(b[offVersion:]))
	}
	rel := func(off int) []byte { return b[at+off:] }
	n := func(i int) int { return int(int32(le32(rel(relMaxConnections + 4*i)))) }
	return Control{
		SystemID:         strconv.FormatUint(le64(b[offSystemID:]), 10),
		State:            states[state],
		Checkpoint:       wal.Position{Timeline: wal.Timeline(le32(b[offCheckpointTLI:])), LSN: wal.LSN(le64(b[offCheckpoint:]))},
		Redo:             wal.LSN(le64(b[offRedo:])),
		MinRecoveryPoint: wal.Position{Timeline: wal.Timeline(le32(rel(relMinRecoveryTLI))), LSN: wal.LSN(le64(rel(relMinRecovery)))},
		SegmentSize:      wal.SegmentSize(le32(rel(relSegmentSize))),
		Checksums:        le32(rel(relChecksums)) != 0,
		Minimums: wal.Parameters{
			MaxConnections: n(0), MaxWorkerProcesses: n(1), MaxWALSenders: n(2), MaxPreparedTransactions: n(3), MaxLocksPerTransaction: n(4),
			WALLevel: int(le32(rel(relWALLevel))), WALLogHints: rel(relWALLogHints)[0] != 0, TrackCommitTimestamp: rel(relTrackCommit)[0] != 0,
		},
	}, nil
}

// invalidCheckpoint is an LSN that no server reaches, so that the server cannot locate the checkpoint and does not start.
// It must be one where a record could begin (XRecOffIsValid): the server checks that even when it goes by a backup_label.
const invalidCheckpoint = 0xDEAD_BEEF_DEAD_BEEF

// ReplaceableInvalidControl returns a copy of pg_control whose checkpoint is nowhere, with the checksum made right, so
// that the cluster starts only with a backup_label, which says where the checkpoint is.
func ReplaceableInvalidControl(b []byte) ([]byte, error) {
	at, err := controlCRC(b)
	if err != nil {
		return nil, fault.New(fault.Corrupt, "invalidate pg_control", err)
	}
	out := bytes.Clone(b)
	binary.LittleEndian.PutUint64(out[offCheckpoint:], invalidCheckpoint)
	binary.LittleEndian.PutUint32(out[at:], crc32.Checksum(out[:at], castagnoli))
	return out, nil
}

// controlCRC finds the checksum, which is ControlFileData's last member: where it stands depends on the version.
func controlCRC(b []byte) (offset int, err error) {
	const first, last = 200, 508 // ControlFileData fits into one disk sector
	if len(b) != controlFileSize {
		return 0, fmt.Errorf("%d bytes, want %d", len(b), controlFileSize)
	}
	sum := crc32.Checksum(b[:first], castagnoli)
	for at := first; at <= last; at += 4 {
		if sum == le32(b[at:]) {
			return at, nil
		}
		sum = crc32.Update(sum, castagnoli, b[at:at+4])
	}
	return 0, errors.New("the checksum does not hold")
}

func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
