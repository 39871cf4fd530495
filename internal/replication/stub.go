package replication

import (
	"context"
	"errors"
	"io"

	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

var errTodo = errors.New("not built yet")

type Conn struct{}

func Connect(ctx context.Context, src topology.Source, appName string) (*Conn, error) {
	return nil, errTodo
}
func (c *Conn) Close(ctx context.Context) error                          { return errTodo }
func (c *Conn) ServerVersion() int                                       { return 0 }
func (c *Conn) IdentifySystem(ctx context.Context) (System, error)       { return System{}, errTodo }
func (c *Conn) SegmentSize(ctx context.Context) (wal.SegmentSize, error) { return 0, errTodo }
func (c *Conn) ReadSlot(ctx context.Context, name string) (Slot, error)  { return Slot{}, errTodo }
func (c *Conn) CreateSlot(ctx context.Context, name string) error        { return errTodo }
func (c *Conn) DropSlot(ctx context.Context, name string) error          { return errTodo }
func (c *Conn) TimelineHistory(ctx context.Context, t wal.Timeline) ([]byte, error) {
	return nil, errTodo
}
func (c *Conn) StartPhysical(ctx context.Context, slot string, at wal.Position) (*Stream, error) {
	return nil, errTodo
}
func (c *Conn) BaseBackup(ctx context.Context, o BaseBackupOptions) (*Backup, error) {
	return nil, errTodo
}

type Stream struct{}

func (s *Stream) Receive(ctx context.Context) (Message, error) { return nil, errTodo }
func (s *Stream) SendStatus(ctx context.Context, write, flush wal.LSN, replyRequested bool) error {
	return errTodo
}

type Backup struct {
	Start       wal.Position
	End         wal.Position
	Tablespaces []Tablespace
	Warnings    []string
}

type Archive struct {
	Tablespace Tablespace
	io.Reader
}

func (b *Backup) NextArchive(ctx context.Context) (Archive, error) { return Archive{}, errTodo }
func (b *Backup) Done() int64                                      { return 0 }
