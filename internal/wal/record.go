package wal

import (
	"encoding/binary"
	"time"
)

// Sizes and flags of src/include/access/{xlogrecord.h,xlog_internal.h,xloginsert.h}, the same in PostgreSQL 15 to 18 on
// little-endian machines.
const (
	// PageSize is XLOG_BLCKSZ, the size in bytes of a WAL page. No packager is known to change it.
	PageSize = 8192

	recordHeader    = 24 // SizeOfXLogRecord
	shortPageHeader = 24 // SizeOfXLogShortPHD
	longPageHeader  = 40 // SizeOfXLogLongPHD, on the first page of a segment file
	crcOffset       = 20 // of xl_crc in the record header
	maxRecord       = 1020 << 20

	pageContinues       = 0x0001 // XLP_FIRST_IS_CONTRECORD
	pageOverwritesBegun = 0x0008 // XLP_FIRST_IS_OVERWRITE_CONTRECORD

	rmXLOG, rmXact, rmDatabase, rmTablespace, rmMessage = 0, 1, 4, 5, 21

	infoMask     = 0xF0 // ~XLR_INFO_MASK
	xactMask     = 0x70 // XLOG_XACT_OPMASK
	xlogShutdown = 0x00 // XLOG_CHECKPOINT_SHUTDOWN
	xlogOnline   = 0x10 // XLOG_CHECKPOINT_ONLINE
	xlogSwitch   = 0x40 // XLOG_SWITCH
	xlogParams   = 0x60 // XLOG_PARAMETER_CHANGE
	xlogRestore  = 0x70 // XLOG_RESTORE_POINT

	xactCommit         = 0x00 // XLOG_XACT_COMMIT
	xactCommitPrepared = 0x30 // XLOG_XACT_COMMIT_PREPARED

	databaseFileCopy = 0x00 // XLOG_DBASE_CREATE_FILE_COPY
	tablespaceCreate = 0x00 // XLOG_TBLSPC_CREATE
)

// Record is one WAL record: its place, and what it says when it is of a kind that SmartDR cares about. At most one of
// the pointers is set; they and what they point to are valid until the visit ends.
type Record struct {
	Start LSN // of its header
	End   LSN // where the next one begins, page headers aside: what pg_last_wal_replay_lsn() shows after replaying it
	XID   uint32

	Commit     *Commit
	Parameters *Parameters
	Checkpoint *Checkpoint
	Tablespace *TablespaceCreate
	FileCopy   *FileCopy
	Restore    *RestorePoint

	raw   []byte // from the header on; of a long record only the beginning
	magic uint16 // of the pages (XLOG_PAGE_MAGIC), by which versions can be told apart; 0: no page's header was seen yet
}

// Commit is a transaction's commit. Its XID is 0 for a prepared one: the record carries another's.
type Commit struct{ Time time.Time }

// Parameters is XLOG_PARAMETER_CHANGE: what a server that replays from here on needs at least (CheckRequiredParameterValues).
type Parameters struct {
	MaxConnections          int  `json:"maxConnections"`
	MaxWorkerProcesses      int  `json:"maxWorkerProcesses"`
	MaxWALSenders           int  `json:"maxWALSenders"`
	MaxPreparedTransactions int  `json:"maxPreparedTransactions"`
	MaxLocksPerTransaction  int  `json:"maxLocksPerTransaction"`
	WALLevel                int  `json:"walLevel"` // 0 minimal, 1 replica, 2 logical
	WALLogHints             bool `json:"walLogHints"`
	TrackCommitTimestamp    bool `json:"trackCommitTimestamp"`
}

// Max returns the higher value of each number.
func (p Parameters) Max(q Parameters) Parameters {
	p.MaxConnections = max(p.MaxConnections, q.MaxConnections)
	p.MaxWorkerProcesses = max(p.MaxWorkerProcesses, q.MaxWorkerProcesses)
	p.MaxWALSenders = max(p.MaxWALSenders, q.MaxWALSenders)
	p.MaxPreparedTransactions = max(p.MaxPreparedTransactions, q.MaxPreparedTransactions)
	p.MaxLocksPerTransaction = max(p.MaxLocksPerTransaction, q.MaxLocksPerTransaction)
	p.WALLevel = max(p.WALLevel, q.WALLevel)
	p.WALLogHints = p.WALLogHints || q.WALLogHints
	p.TrackCommitTimestamp = p.TrackCommitTimestamp || q.TrackCommitTimestamp
	return p
}

// Checkpoint is a checkpoint record.
type Checkpoint struct {
	Redo     LSN
	Timeline Timeline
	Shutdown bool
}

// TablespaceCreate is a CREATE TABLESPACE: replay needs its directory.
type TablespaceCreate struct {
	OID      uint32
	Location string
}

// FileCopy is a CREATE DATABASE with strategy FILE_COPY, or one moved to another tablespace.
type FileCopy struct{ Database, Tablespace, SourceDatabase, SourceTablespace uint32 }

// RestorePoint is a point that somebody named, by pg_create_restore_point (xl_restore_point).
type RestorePoint struct {
	Name string
	Time time.Time // by the server's clock
}

// postgresEpoch is 2000-01-01, where TimestampTz counts microseconds from.
var postgresEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// describe fills in what the record says. b is the record from its header on; of a long one it may be only the beginning,
// and then what lies beyond is left out.
func (r *Record) describe(b []byte) {
	r.raw = b
	info, rm := b[16], b[17]
	if rm != rmXact && rm != rmXLOG && rm != rmDatabase && rm != rmTablespace {
		return
	}
	main := mainData(b)
	switch op := info & infoMask; {
	case rm == rmXact:
		r.describeXact(info&xactMask, main)
	case rm == rmXLOG && (op == xlogShutdown || op == xlogOnline):
		r.describeCheckpoint(op, main)
	case rm == rmXLOG && op == xlogParams:
		r.describeParameters(main)
	case rm == rmXLOG && op == xlogRestore && len(main) > 8:
		r.Restore = &RestorePoint{untilNUL(main[8:]), timestamp(main)}
	case rm == rmDatabase && op == databaseFileCopy && len(main) >= 16:
		le := binary.LittleEndian
		r.FileCopy = &FileCopy{le.Uint32(main), le.Uint32(main[4:]), le.Uint32(main[8:]), le.Uint32(main[12:])}
	case rm == rmTablespace && op == tablespaceCreate && len(main) >= 4:
		r.Tablespace = &TablespaceCreate{binary.LittleEndian.Uint32(main), untilNUL(main[4:])}
	}
}

// describeXact reads xl_xact_commit, which begins with its time.
func (r *Record) describeXact(op byte, main []byte) {
	if (op != xactCommit && op != xactCommitPrepared) || len(main) < 8 {
		return
	}
	r.Commit = &Commit{timestamp(main)}
	if op == xactCommitPrepared {
		r.XID = 0
	}
}

// describeCheckpoint reads the beginning of CheckPoint (catalog/pg_control.h).
func (r *Record) describeCheckpoint(op byte, main []byte) {
	if len(main) < 12 {
		return
	}
	r.Checkpoint = &Checkpoint{LSN(binary.LittleEndian.Uint64(main)), Timeline(binary.LittleEndian.Uint32(main[8:])), op == xlogShutdown}
}

// describeParameters reads xl_parameter_change.
func (r *Record) describeParameters(main []byte) {
	if len(main) < 26 {
		return
	}
	n := func(i int) int { return int(int32(binary.LittleEndian.Uint32(main[4*i:]))) }
	r.Parameters = &Parameters{n(0), n(1), n(2), n(3), n(4), n(5), main[24] != 0, main[25] != 0}
}

func untilNUL(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// mainData returns a record's main data, as far as b holds it: it is what follows the headers and all blocks' data
// (DecodeXLogRecord in xlogreader.c). nil when there is none or b is not understood.
func mainData(b []byte) []byte {
	blocks, n := 0, 0
	p := recordHeader
	for p < len(b) {
		id := b[p]
		switch {
		case id == 255 && p+2 <= len(b): // XLR_BLOCK_ID_DATA_SHORT
			n = int(b[p+1])
			return clip(b, p+2+blocks, n)
		case id == 254 && p+5 <= len(b): // XLR_BLOCK_ID_DATA_LONG
			n = int(binary.LittleEndian.Uint32(b[p+1:]))
			return clip(b, p+5+blocks, n)
		case id == 253: // XLR_BLOCK_ID_ORIGIN
			p += 3
		case id == 252: // XLR_BLOCK_ID_TOPLEVEL_XID
			p += 5
		case id <= 32:
			size, data, ok := blockHeader(b[p:])
			if !ok {
				return nil
			}
			p += size
			blocks += data
		default:
			return nil
		}
	}
	return nil
}

func clip(b []byte, from, n int) []byte {
	if from > len(b) {
		return nil
	}
	return b[from:min(len(b), from+n)]
}

// blockHeader returns the size of XLogRecordBlockHeader with what belongs to it, and of the data it announces.
func blockHeader(b []byte) (size, data int, ok bool) {
	if len(b) < 4 {
		return 0, 0, false
	}
	flags := b[1]
	data = int(binary.LittleEndian.Uint16(b[2:]))
	size = 4
	if flags&0x10 != 0 { // BKPBLOCK_HAS_IMAGE
		if len(b) < 9 {
			return 0, 0, false
		}
		data += int(binary.LittleEndian.Uint16(b[4:]))
		size += 5
		if info := b[8]; info&0x01 != 0 && info&0x1C != 0 { // BKPIMAGE_HAS_HOLE and compressed
			size += 2
		}
	}
	if flags&0x80 == 0 { // not BKPBLOCK_SAME_REL
		size += 12
	}
	return size + 4, data, true
}
