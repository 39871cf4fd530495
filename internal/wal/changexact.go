package wal

import "encoding/binary"

// Records of transactions, as far as they matter to who wants to know what was committed (xact.h, twophase.c, standbydefs.h).
const (
	xactPrepare  = 0x10 // XLOG_XACT_PREPARE
	twoPhase     = 0x57F94534
	twoPhaseSize = 72 // MAXALIGN(sizeof(xl_xact_prepare))

	standbyRunning = 0x10 // XLOG_RUNNING_XACTS

	xlogOverwrite = 0xD0 // XLOG_OVERWRITE_CONTRECORD
)

// Running is what a record says of transactions that run: no record of transaction NextXID, or of a later one, precedes it. Numbers are
// compared modulo 2^32. XLOG_RUNNING_XACTS is one, since no number is given out while it is written (GetRunningTransactionData); all that
// was open then has numbers from OldestXID on. The checkpoint of a shutdown, or at the end of crash recovery, is one without OldestXID (0):
// nothing runs but transactions that are prepared.
type Running struct{ NextXID, OldestXID uint32 }

// Running returns what the record says of the transactions that run. It can be asked only during the visit.
func (r Record) Running() (x Running, ok bool, err error) {
	shutdown := r.is(rmXLOG, infoMask, xlogShutdown)
	if !shutdown && !r.is(rmStandby, infoMask, standbyRunning) {
		return x, false, nil
	}
	main, le := mainData(r.raw), binary.LittleEndian
	switch {
	case shutdown && len(main) >= 32:
		return Running{NextXID: le.Uint32(main[24:])}, true, nil // CheckPoint's FullTransactionId, without its epoch
	case shutdown, len(main) < 24:
		return x, false, r.damaged("a record of running transactions of %d bytes", len(main))
	}
	return Running{le.Uint32(main[12:]), le.Uint32(main[16:])}, true, nil
}

// Preparation is a PREPARE TRANSACTION.
type Preparation struct {
	XID      uint32 // of the whole transaction
	Database uint32 // OID
	GID      string
}

// Preparation returns what the record prepares. It can be asked only during the visit.
func (r Record) Preparation() (p Preparation, ok bool, err error) {
	if !r.is(rmXact, xactMask, xactPrepare) {
		return p, false, nil
	}
	main, le := mainData(r.raw), binary.LittleEndian
	if len(main) < twoPhaseSize || le.Uint32(main) != twoPhase {
		return p, false, r.damaged("a PREPARE TRANSACTION of another form")
	}
	gid := int(le.Uint16(main[54:])) // with its NUL
	if gid == 0 || len(main) < twoPhaseSize+gid {
		return p, false, r.damaged("a PREPARE TRANSACTION without its name")
	}
	return Preparation{le.Uint32(main[8:]), le.Uint32(main[12:]), untilNUL(main[twoPhaseSize : twoPhaseSize+gid])}, true, nil
}

// Behind is where the record before it ends, a page's header aside: at its own start, unless a crash of the server cut a record there, and it
// wrote this one behind what there was of that.
func (r Record) Behind() LSN {
	if !r.is(rmXLOG, infoMask, xlogOverwrite) {
		return r.Start
	}
	main := mainData(r.raw)
	if len(main) < 8 {
		return r.Start
	}
	return LSN(binary.LittleEndian.Uint64(main)) // xl_overwrite_contrecord begins with where the cut one did
}

// Adjacent reports whether at most a page's header lies between a record's end and the next one's start.
func Adjacent(end, start LSN) bool {
	return start == end || end%PageSize == 0 && (start == end+shortPageHeader || start == end+longPageHeader)
}
