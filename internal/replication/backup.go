package replication

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

const opBackup = "take base backup"

// Backup is a base backup under way: one tar archive per tablespace. It is worth something only after NextArchive
// returned io.EOF, since the server reports damaged pages after it has sent everything.
type Backup struct {
	Start       wal.Position // where replay must begin: the redo position of the backup's checkpoint
	End         wal.Position // where the backup becomes consistent; valid after io.EOF
	Tablespaces []Tablespace // the main data directory comes last, with OID 0
	Warnings    []string     // what the server warned of; valid after the end, good or bad

	c       *Conn
	part    []byte // bytes of the current archive that were not read yet
	waiting string // path of an archive that was announced and not handed out yet
	state   backupState
	err     error // sticky
	done    int64
}

type backupState int

const (
	betweenArchives backupState = iota // an archive was announced, or the first is to come
	inArchive
	allSent
)

// Archive is the tar archive of one tablespace. It must be read to its end before the next is asked for.
type Archive struct {
	Tablespace Tablespace
	io.Reader
}

// BaseBackup starts a base backup. The server does not wait for its own archiving, sends no WAL and no manifest, and writes
// links of tablespaces into the file tablespace_map instead of the archive.
func (c *Conn) BaseBackup(ctx context.Context, o BaseBackupOptions) (*Backup, error) {
	if err := c.send(ctx, opBackup, o.command()); err != nil {
		return nil, err
	}
	b := &Backup{c: c}
	if err := b.readStart(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

func (o BaseBackupOptions) command() string {
	label := o.Label
	if label == "" {
		label = "smartdr"
	}
	checkpoint := "spread"
	if o.FastCheckpoint {
		checkpoint = "fast"
	}
	opts := []string{
		"LABEL '" + strings.ReplaceAll(label, "'", "''") + "'", "PROGRESS true", "CHECKPOINT '" + checkpoint + "'",
		"WAIT false", "WAL false", "TABLESPACE_MAP true", "MANIFEST 'no'",
		"VERIFY_CHECKSUMS " + strconv.FormatBool(o.VerifyChecksums),
	}
	if o.MaxRateKB > 0 {
		opts = append(opts, fmt.Sprintf("MAX_RATE %d", o.MaxRateKB))
	}
	return "BASE_BACKUP (" + strings.Join(opts, ", ") + ")"
}

// readStart reads the two result sets before the archives, up to the CopyOutResponse.
func (b *Backup) readStart(ctx context.Context) error {
	start, err := b.resultSet(ctx)
	if err != nil {
		return err
	}
	if b.Start, err = backupPosition(start); err != nil {
		return err
	}
	rows, err := b.resultSet(ctx)
	if err != nil {
		return err
	}
	for _, row := range rows {
		t, err := parseTablespace(row)
		if err != nil {
			return fault.New(fault.Transient, opBackup, err)
		}
		b.Tablespaces = append(b.Tablespaces, t)
	}
	return b.expectCopy(ctx)
}

func (b *Backup) expectCopy(ctx context.Context) error {
	m, err := b.c.next(ctx, opBackup)
	if err != nil {
		return err
	}
	if _, ok := m.(*pgproto3.CopyOutResponse); !ok {
		return unexpected(opBackup, m)
	}
	return nil
}

// resultSet reads rows up to the next CommandComplete.
func (b *Backup) resultSet(ctx context.Context) ([][][]byte, error) {
	var rows [][][]byte
	for {
		m, err := b.c.next(ctx, opBackup)
		if err != nil {
			return nil, err
		}
		switch m := m.(type) {
		case *pgproto3.RowDescription:
		case *pgproto3.DataRow:
			rows = append(rows, cloneRow(m.Values))
		case *pgproto3.CommandComplete:
			return rows, nil
		default:
			return nil, unexpected(opBackup, m)
		}
	}
}

// backupPosition reads the one row of LSN and timeline that begins and ends a backup.
func backupPosition(rows [][][]byte) (wal.Position, error) {
	if len(rows) != 1 || len(rows[0]) < 2 {
		return wal.Position{}, fault.Newf(fault.Transient, opBackup, "the server did not say where the backup begins or ends")
	}
	at, err := parsePosition(rows[0][1], rows[0][0])
	if err != nil {
		return wal.Position{}, fault.New(fault.Transient, opBackup, err)
	}
	return at, nil
}

// parseTablespace reads spcoid, spclocation and size; the first two are NULL for the main data directory.
func parseTablespace(row [][]byte) (t Tablespace, err error) {
	if len(row) < 3 {
		return t, errors.New("a tablespace without three columns")
	}
	t.Location = string(row[1])
	if row[0] != nil {
		oid, err := strconv.ParseUint(string(row[0]), 10, 32)
		if err != nil {
			return t, fmt.Errorf("tablespace OID %q", row[0])
		}
		t.OID = uint32(oid)
	}
	if row[2] != nil {
		t.SizeKB, err = strconv.ParseInt(string(row[2]), 10, 64)
	}
	return t, err
}

// Done returns the number of bytes of archives that were received so far.
func (b *Backup) Done() int64 { return b.done }

// NextArchive returns the next archive, and io.EOF when the server has confirmed that the backup is complete.
// Reading the archive ends when ctx ends. fault.Corrupt means that pages failed their checksums; Warnings names the files.
func (b *Backup) NextArchive(ctx context.Context) (Archive, error) {
	if b.err == nil {
		b.err = b.toNextArchive(ctx)
	}
	if b.err != nil {
		return Archive{}, b.err
	}
	t, err := b.tablespace(b.waiting)
	if err != nil {
		b.err = err
		return Archive{}, err
	}
	b.state = inArchive
	return Archive{Tablespace: t, Reader: &archiveReader{b, ctx}}, nil
}

func (b *Backup) toNextArchive(ctx context.Context) error {
	// Left early, as tar readers do with padding, an archive is skipped.
	for b.state == inArchive || b.state == betweenArchives && b.waiting == "" {
		if err := b.receive(ctx); err != nil {
			return err
		}
	}
	b.part = nil
	if b.state == allSent {
		return io.EOF
	}
	return nil
}

// tablespace finds what an announced archive belongs to. The announcement is kept with a prefix, so that the
// main directory's empty path differs from none.
func (b *Backup) tablespace(announced string) (Tablespace, error) {
	b.waiting = ""
	path := strings.TrimPrefix(announced, announcedPrefix)
	for _, t := range b.Tablespaces {
		if t.Location == path {
			return t, nil
		}
	}
	return Tablespace{}, fault.Newf(fault.Transient, opBackup, "the server sent a tablespace %q that it had not announced", path)
}

const announcedPrefix = "archive:"

// archiveReader reads the current archive up to where the next begins.
type archiveReader struct {
	b   *Backup
	ctx context.Context //nolint:containedctx // an io.Reader has no other way to be interrupted
}

func (r *archiveReader) Read(p []byte) (int, error) {
	b := r.b
	for len(b.part) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		if b.state != inArchive {
			return 0, io.EOF
		}
		b.err = b.receive(r.ctx)
	}
	n := copy(p, b.part)
	b.part = b.part[n:]
	return n, nil
}

// WriteTo spares io.Copy a buffer of its own.
func (r *archiveReader) WriteTo(w io.Writer) (total int64, err error) {
	b := r.b
	for b.err == nil && (b.state == inArchive || len(b.part) > 0) {
		n, err := w.Write(b.part)
		total += int64(n)
		if err != nil {
			return total, err
		}
		b.part = nil
		if b.state == inArchive {
			b.err = b.receive(r.ctx)
		}
	}
	return total, b.err
}

// receive reads one message of the copy and moves the state.
func (b *Backup) receive(ctx context.Context) error {
	m, err := b.c.next(ctx, opBackup)
	if err != nil {
		return b.fail(err)
	}
	switch m := m.(type) {
	case *pgproto3.CopyData:
		return b.payload(m.Data)
	case *pgproto3.CopyDone:
		return b.finish(ctx)
	default:
		return unexpected(opBackup, m)
	}
}

// payload reads one CopyData: 'n' begins an archive, 'd' is data, 'p' is progress (bytes done, which we count ourselves).
func (b *Backup) payload(data []byte) error {
	if len(data) == 0 {
		return fault.Newf(fault.Transient, opBackup, "the server sent an empty message")
	}
	switch body := data[1:]; data[0] {
	case 'n':
		return b.announce(body)
	case 'd':
		b.part, b.done = body, b.done+int64(len(body))
		return nil
	case 'p':
		return nil
	default:
		return fault.Newf(fault.Transient, opBackup, "the server sent a message %q", data[0])
	}
}

// announce reads the name of an archive's file and the tablespace's path, each with a zero byte at its end.
func (b *Backup) announce(body []byte) error {
	parts := strings.Split(string(body), "\x00")
	if len(parts) != 3 || parts[2] != "" {
		return fault.Newf(fault.Transient, opBackup, "the server began an archive without name and path")
	}
	b.waiting, b.state = announcedPrefix+parts[1], betweenArchives
	return nil
}

// finish reads the end position and the command's end: only now is the backup good.
func (b *Backup) finish(ctx context.Context) error {
	rows, err := b.c.rest(ctx, opBackup)
	if err != nil {
		return b.fail(err)
	}
	if b.End, err = backupPosition(rows); err != nil {
		return err
	}
	b.Warnings = b.c.notices
	b.state, b.waiting = allSent, ""
	return nil
}

func (b *Backup) fail(err error) error {
	b.Warnings = b.c.notices
	if fault.Is(err, fault.Corrupt) {
		return fault.Newf(fault.Corrupt, opBackup, "%w (%s)", err, strings.Join(b.Warnings, "; ")).
			WithHint("Pages of the primary's data files fail their checksums. Repair them, or take the snapshot without verifying checksums.")
	}
	return err
}
