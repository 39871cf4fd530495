package replication

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// oldestVersion is the first with READ_REPLICATION_SLOT and with option lists in parentheses.
const oldestVersion = 150000

// Conn is a physical replication connection. It runs one command at a time; only Stream.SendStatus and Close may be
// called beside another method.
type Conn struct {
	pg         *pgconn.PgConn
	version    int
	inRecovery bool
	notices    []string // what the server warned of since the last command began
}

// Connect opens a physical replication connection under the given application_name. With several hosts it takes the
// first that target_session_attrs accepts. Errors are judged by dsn.ConnectError.
func Connect(ctx context.Context, src topology.Source, appName string) (*Conn, error) {
	cfg, err := dsn.ConnConfig(src)
	if err != nil {
		return nil, err
	}
	c := &Conn{}
	c.configure(cfg, appName)
	c.pg, err = open(ctx, cfg)
	if err != nil {
		return nil, dsn.ConnectError("connect for replication", err)
	}
	c.inRecovery = inRecovery(c.pg)
	if err := c.readVersion(ctx); err != nil {
		_ = c.Close(ctx)
		return nil, err
	}
	return c, nil
}

func (c *Conn) configure(cfg *pgconn.Config, appName string) {
	cfg.RuntimeParams["replication"] = "true"
	// A server that is fenced begins transactions read-only: it is still the one that target_session_attrs=read-write means.
	cfg.RuntimeParams["default_transaction_read_only"] = "off"
	if appName != "" {
		cfg.RuntimeParams["application_name"] = appName
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 15 * time.Second // a host that is gone swallows packets; the next one waits its turn
	}
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { c.notices = append(c.notices, n.Message) }
}

// Close ends the connection. It may be called while Receive waits, which then fails.
func (c *Conn) Close(ctx context.Context) error { return c.pg.Close(ctx) }

// ServerVersion returns server_version_num, as 150018.
func (c *Conn) ServerVersion() int { return c.version }

func (c *Conn) readVersion(ctx context.Context) error {
	text, err := c.show(ctx, "server_version_num")
	if err != nil {
		return err
	}
	if c.version, err = strconv.Atoi(text); err != nil {
		return fault.Newf(fault.Invalid, "read server version", "server_version_num is %q", text)
	}
	if c.version < oldestVersion {
		return fault.Newf(fault.Invalid, "connect for replication", "the server is PostgreSQL %d", c.version/10000).
			WithHint("SmartDR needs PostgreSQL 15 or later.")
	}
	return nil
}

// IdentifySystem asks the server who it is and how far it has flushed.
func (c *Conn) IdentifySystem(ctx context.Context) (System, error) {
	const op = "identify system"
	row, err := c.row(ctx, op, "IDENTIFY_SYSTEM", 4)
	if err != nil {
		return System{}, err
	}
	at, err := parsePosition(row[1], row[2])
	if err != nil {
		return System{}, fault.New(fault.Invalid, op, err)
	}
	return System{ID: string(row[0]), Position: at, InRecovery: c.inRecovery}, nil
}

// SegmentSize asks for the size of the server's WAL segment files.
func (c *Conn) SegmentSize(ctx context.Context) (wal.SegmentSize, error) {
	text, err := c.show(ctx, "wal_segment_size")
	if err != nil {
		return 0, err
	}
	size, err := parseSegmentSize(text)
	if err != nil {
		return 0, fault.New(fault.Invalid, "read wal_segment_size", err)
	}
	return size, nil
}

// PageSize asks for the size of the server's pages, in bytes.
func (c *Conn) PageSize(ctx context.Context) (int, error) {
	text, err := c.show(ctx, "block_size")
	if err != nil {
		return 0, err
	}
	size, err := strconv.Atoi(text)
	if err != nil {
		return 0, fault.New(fault.Invalid, "read block_size", err)
	}
	return size, nil
}

// DataDirectory returns the server's data directory, on its host. It takes a role that may read all settings.
func (c *Conn) DataDirectory(ctx context.Context) (string, error) {
	return c.show(ctx, "data_directory")
}

// TimelineHistory returns the content of t's history file. Timeline 1 has none: fault.Missing.
func (c *Conn) TimelineHistory(ctx context.Context, t wal.Timeline) ([]byte, error) {
	row, err := c.row(ctx, fmt.Sprintf("read history of timeline %d", t), fmt.Sprintf("TIMELINE_HISTORY %d", t), 2)
	if err != nil {
		return nil, err
	}
	return row[1], nil
}

func (c *Conn) show(ctx context.Context, name string) (string, error) {
	row, err := c.row(ctx, "show "+name, "SHOW "+name, 1)
	if err != nil {
		return "", err
	}
	return string(row[0]), nil
}

// row runs a command that answers with exactly one row of at least columns columns.
func (c *Conn) row(ctx context.Context, op, command string, columns int) ([][]byte, error) {
	results, err := c.exec(ctx, op, command)
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) < columns {
		return nil, fault.Newf(fault.Invalid, op, "the server did not answer with one row of %d columns", columns)
	}
	return results[0].Rows[0], nil
}

func (c *Conn) exec(ctx context.Context, op, command string) ([]*pgconn.Result, error) {
	c.notices = nil
	results, err := c.pg.Exec(ctx, command).ReadAll()
	if err != nil {
		return nil, c.judge(ctx, op, err)
	}
	return results, nil
}

// judge gives an error of a command its kind.
func (c *Conn) judge(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return fault.New(fault.Transient, op, ctx.Err())
	}
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return fault.New(fault.Transient, op, err)
	}
	return c.judgeServer(op, pgErr)
}

func parsePosition(timeline, lsn []byte) (wal.Position, error) {
	t, err := strconv.ParseUint(string(timeline), 10, 32)
	if err != nil || t == 0 {
		return wal.Position{}, fmt.Errorf("%q is not a timeline", timeline)
	}
	l, err := wal.ParseLSN(string(lsn))
	return wal.Position{Timeline: wal.Timeline(t), LSN: l}, err
}

// parseSegmentSize reads a setting with the unit that SHOW chooses: 1MB to 1GB.
func parseSegmentSize(text string) (wal.SegmentSize, error) {
	digits := 0
	for digits < len(text) && text[digits] >= '0' && text[digits] <= '9' {
		digits++
	}
	n, err := strconv.ParseUint(text[:digits], 10, 16)
	unit := map[string]uint64{"kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}[text[digits:]]
	size := wal.SegmentSize(n * unit)
	if err != nil || n*unit > 1<<30 || !size.Valid() {
		return 0, fmt.Errorf("%q is not a segment size", text)
	}
	return size, nil
}
