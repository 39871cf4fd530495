package replication

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

const opStream = "stream WAL"

// statusTimeout limits a status update, which is 39 bytes: if they do not fit into the socket for so long, the
// server is gone.
const statusTimeout = 10 * time.Second

// Stream is the server's WAL from one place on.
type Stream struct {
	c       *Conn
	net     net.Conn
	fe      *pgproto3.Frontend
	pending Message // what StartPhysical learned already
	over    error   // why the stream ended; nil while it runs

	write   sync.Mutex // guards the socket's writing half, and flushed
	flushed wal.LSN
	status  []byte
}

// StartPhysical asks for WAL from at on, held back for slot (empty for none). When at is exactly the end of an old
// timeline, there is nothing to stream: the first Receive returns the EndOfTimeline.
//
// fault.Missing means that the server no longer has that WAL, or has no such slot; fault.Diverged that its history never had it.
// The server finds some of this out later, so Receive may return them too.
func (c *Conn) StartPhysical(ctx context.Context, slot string, at wal.Position) (*Stream, error) {
	s := &Stream{c: c, net: c.pg.Conn(), fe: c.pg.Frontend()}
	command := fmt.Sprintf("START_REPLICATION PHYSICAL %s TIMELINE %d", at.LSN, at.Timeline)
	if slot != "" {
		if err := checkSlotName(opStream, slot); err != nil {
			return nil, err
		}
		command = fmt.Sprintf("START_REPLICATION SLOT %s PHYSICAL %s TIMELINE %d", slot, at.LSN, at.Timeline)
	}
	if err := c.send(ctx, opStream, command); err != nil {
		return nil, err
	}
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// send starts a command whose answer is read message by message.
func (c *Conn) send(ctx context.Context, op, command string) error {
	c.notices = nil
	if err := c.pg.SyncConn(ctx); err != nil {
		return fault.New(fault.Transient, op, err)
	}
	fe := c.pg.Frontend()
	fe.SendQuery(&pgproto3.Query{String: command})
	if err := fe.Flush(); err != nil {
		return fault.New(fault.Transient, op, err)
	}
	return nil
}

// begin reads the answer to START_REPLICATION.
func (s *Stream) begin(ctx context.Context) error {
	m, err := s.c.next(ctx, opStream)
	if err != nil {
		return err
	}
	switch m := m.(type) {
	case *pgproto3.CopyBothResponse:
		return nil
	case *pgproto3.RowDescription:
		s.pending, err = s.readSwitch(ctx)
		return err
	default:
		return unexpected(opStream, m)
	}
}

// Receive waits for the next message. When ctx ends first it returns ctx's error, and may be called again. Any other error
// is the stream's end, and so are EndOfTimeline and Shutdown; after the end Receive returns io.EOF.
func (s *Stream) Receive(ctx context.Context) (Message, error) {
	if s.over != nil {
		return nil, s.over
	}
	if m := s.pending; m != nil {
		s.pending, s.over = nil, io.EOF
		return m, nil
	}
	for {
		raw, err := s.c.next(ctx, opStream)
		if err != nil {
			return nil, s.ended(ctx, err)
		}
		m, err := s.understand(ctx, raw)
		if err != nil {
			return nil, s.ended(ctx, err)
		}
		if m != nil {
			return m, nil
		}
	}
}

func (s *Stream) ended(ctx context.Context, err error) error {
	if ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
		s.over = io.EOF
	}
	return err
}

func (s *Stream) understand(ctx context.Context, raw pgproto3.BackendMessage) (Message, error) {
	switch raw := raw.(type) {
	case *pgproto3.CopyData:
		return parseMessage(raw.Data)
	case *pgproto3.CopyDone:
		s.over = io.EOF
		return s.endOfTimeline(ctx)
	case *pgproto3.CommandComplete:
		s.over = io.EOF
		return Shutdown{}, nil
	default:
		return nil, unexpected(opStream, raw)
	}
}

// endOfTimeline answers the server's CopyDone with ours and reads where the next timeline begins.
func (s *Stream) endOfTimeline(ctx context.Context) (Message, error) {
	done, _ := (&pgproto3.CopyDone{}).Encode(nil)
	if err := s.writeOut(ctx, done); err != nil {
		return nil, err
	}
	m, err := s.c.next(ctx, opStream)
	if err != nil {
		return nil, err
	}
	if _, ok := m.(*pgproto3.RowDescription); !ok {
		return nil, unexpected(opStream, m)
	}
	return s.readSwitch(ctx)
}

// readSwitch reads one row, next_tli and the switch point, and on to the end of the command.
func (s *Stream) readSwitch(ctx context.Context) (Message, error) {
	rows, err := s.c.rest(ctx, opStream)
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 || len(rows[0]) != 2 {
		return nil, fault.Newf(fault.Transient, opStream, "the server ended the timeline without naming the next")
	}
	at, err := parsePosition(rows[0][0], rows[0][1])
	if err != nil {
		return nil, fault.New(fault.Transient, opStream, err)
	}
	return EndOfTimeline{Next: at.Timeline, Switch: at.LSN}, nil
}

// SendStatus tells the server how far we have written and flushed. Only flush lets it drop WAL, so it must be durable
// where it counts. It may be called beside Receive. A flush of zero, or below an earlier one, is fault.Invalid:
// the server would take the one for "written is flushed" and move the slot backwards for the other.
func (s *Stream) SendStatus(ctx context.Context, write, flush wal.LSN, replyRequested bool) error {
	s.write.Lock()
	defer s.write.Unlock()
	if flush == 0 || flush < s.flushed {
		return fault.Newf(fault.Invalid, "send status", "flush position %s after %s", flush, s.flushed)
	}
	s.status = appendStatus(s.status[:0], write, flush, time.Now(), replyRequested)
	if err := s.writeLocked(ctx, s.status); err != nil {
		return err
	}
	s.flushed = flush
	return nil
}

func (s *Stream) writeOut(ctx context.Context, b []byte) error {
	s.write.Lock()
	defer s.write.Unlock()
	return s.writeLocked(ctx, b)
}

func (s *Stream) writeLocked(ctx context.Context, b []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	deadline := time.Now().Add(statusTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := s.net.SetWriteDeadline(deadline); err != nil {
		return fault.New(fault.Transient, opStream, err)
	}
	_, err := s.net.Write(b)
	if err == nil {
		err = s.net.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		return fault.New(fault.Transient, opStream, err)
	}
	return nil
}

// next reads one message of a running command, without those that may come at any time. An error that the
// server reports is judged here, after the connection is ready for the next command again.
func (c *Conn) next(ctx context.Context, op string) (pgproto3.BackendMessage, error) {
	for {
		m, err := c.read(ctx)
		if err != nil {
			return nil, readError(ctx, op, err)
		}
		switch m := m.(type) {
		case *pgproto3.NoticeResponse:
			c.notices = append(c.notices, m.Message)
		case *pgproto3.ParameterStatus:
		case *pgproto3.ErrorResponse:
			return nil, c.refused(ctx, op, m)
		default:
			return m, nil
		}
	}
}

func (c *Conn) refused(ctx context.Context, op string, m *pgproto3.ErrorResponse) error {
	e := pgconn.ErrorResponseToPgError(m)
	if e.Severity != "FATAL" && e.SeverityUnlocalized != "FATAL" {
		_, _ = c.rest(ctx, op) // what matters is e; a connection that is broken too fails its next command
	}
	return c.judgeServer(op, e)
}

// rest reads to the end of the running command and returns the rows that came.
func (c *Conn) rest(ctx context.Context, op string) ([][][]byte, error) {
	var rows [][][]byte
	for {
		m, err := c.next(ctx, op)
		if err != nil {
			return nil, err
		}
		switch m := m.(type) {
		case *pgproto3.DataRow:
			rows = append(rows, cloneRow(m.Values))
		case *pgproto3.ReadyForQuery:
			return rows, nil
		}
	}
}

func cloneRow(values [][]byte) [][]byte {
	row := make([][]byte, len(values))
	for i, v := range values {
		if v != nil {
			row[i] = append([]byte{}, v...)
		}
	}
	return row
}

// read waits for one message. A read that ctx interrupts keeps what it has, and goes on with the next call.
func (c *Conn) read(ctx context.Context) (pgproto3.BackendMessage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conn, interrupted := c.pg.Conn(), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetReadDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	m, err := c.pg.Frontend().Receive()
	if !stop() {
		<-interrupted
		if resetErr := conn.SetReadDeadline(time.Time{}); err == nil {
			err = resetErr
		}
	}
	return m, err
}

func readError(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ctx.Err())) {
		return fault.New(fault.Transient, op, ctx.Err())
	}
	return fault.New(fault.Transient, op, err)
}

func unexpected(op string, m pgproto3.BackendMessage) error {
	return fault.Newf(fault.Transient, op, "the server sent a %T out of turn", m)
}
