package replication

import (
	"encoding/binary"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// postgresEpoch is 2000-01-01 UTC, from which the server counts microseconds.
var postgresEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Sizes of the fixed parts of CopyData payloads, with their leading letter.
const (
	dataHeader = 1 + 8 + 8 + 8 // 'w', start, server's end, clock
	keepalive  = 1 + 8 + 8 + 1 // 'k', server's end, clock, reply requested
	statusSize = 1 + 4 + 1 + 8 + 8 + 8 + 8 + 1
)

// parseMessage reads one CopyData payload of a stream (XLogData or primary keepalive message).
func parseMessage(b []byte) (Message, error) {
	switch {
	case len(b) >= dataHeader && b[0] == 'w':
		return Data{
			Start: wal.LSN(be64(b[1:])), ServerEnd: wal.LSN(be64(b[9:])), SentAt: parseClock(b[17:]), Bytes: b[dataHeader:],
		}, nil
	case len(b) == keepalive && b[0] == 'k':
		return Keepalive{ServerEnd: wal.LSN(be64(b[1:])), SentAt: parseClock(b[9:]), ReplyRequested: b[17] != 0}, nil
	case len(b) == 0:
		return nil, fault.Newf(fault.Transient, opStream, "the server sent an empty message")
	}
	return nil, fault.Newf(fault.Transient, opStream, "the server sent a message %q of %d bytes", b[0], len(b))
}

// appendStatus appends a whole CopyData message with a standby status update. Nothing is ever applied here, so
// that position stays zero, as pg_receivewal has it.
func appendStatus(b []byte, write, flush wal.LSN, now time.Time, replyRequested bool) []byte {
	b = append(b, 'd')
	b = binary.BigEndian.AppendUint32(b, statusSize-1)
	b = append(b, 'r')
	b = binary.BigEndian.AppendUint64(b, uint64(write))
	b = binary.BigEndian.AppendUint64(b, uint64(flush))
	b = binary.BigEndian.AppendUint64(b, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(now.Sub(postgresEpoch).Microseconds()))
	if replyRequested {
		return append(b, 1)
	}
	return append(b, 0)
}

func be64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

// parseClock does not use time.Duration, which ends 292 years after the epoch: a server may send anything.
func parseClock(b []byte) time.Time {
	return time.UnixMicro(postgresEpoch.UnixMicro() + int64(be64(b))).UTC()
}
