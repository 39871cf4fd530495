package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/wal"
)

// place is where everything happens: a server, and the buckets of its own and of the other region.
type place struct {
	dir       string
	server    *devenv.Postgres
	serverPID int
	version   string
	stores    []*devenv.Gateway // the local one first
}

var regions = []string{"west", "east"}

func newPlace(ctx context.Context, o options) (p *place, err error) {
	p = &place{}
	if p.dir, err = os.MkdirTemp(o.dir, "sdrbench"); err != nil {
		return nil, err
	}
	if err = os.Chmod(p.dir, 0o755); err == nil { // PostgreSQL may run as another user
		err = p.startAll(ctx, o)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *place) startAll(ctx context.Context, o options) error {
	for _, r := range regions {
		g, err := devenv.StartGateway(ctx, devenv.GatewayOptions{Dir: filepath.Join(p.dir, r), Name: "bucket of " + r})
		if err != nil {
			return err
		}
		p.stores = append(p.stores, g)
	}
	var err error
	p.server, err = devenv.StartPostgres(ctx, devenv.PostgresOptions{
		Dir: filepath.Join(p.dir, "pg"), Major: chooseMajor(o.major), Settings: serverSettings,
		Init: postgres.InitOptions{Checksums: true},
	})
	if err != nil {
		return err
	}
	pid, running := p.server.Running(ctx)
	if !running {
		return errors.New("the server is not running")
	}
	p.serverPID = pid
	if err := p.server.Exec(ctx, "postgres", "create database bench"); err != nil {
		return err
	}
	return p.query(ctx, "select current_setting('server_version')", &p.version)
}

// serverSettings are a server as one would run it, save that it never vacuums by itself: what changed between two
// snapshots is then what the benchmark changed.
var serverSettings = map[string]string{
	"shared_buffers": "512MB", "max_wal_size": "4GB", "autovacuum": "off", "max_slot_wal_keep_size": "-1", "wal_compression": "off",
}

// chooseMajor prefers a server that brings pg_basebackup: a pg_basebackup of an older major refuses it. 0 is any.
func chooseMajor(wanted int) int {
	if wanted != 0 {
		return wanted
	}
	for _, b := range postgres.FindAll(devenv.PostgresDirs()) {
		if _, ok := programOf(b, "pg_basebackup"); ok && b.Major() >= 15 {
			return b.Major()
		}
	}
	return 0
}

// programOf finds a client program of an installation, also where only the server's programs are linked into PATH.
func programOf(b postgres.Binaries, name string) (path string, ok bool) {
	dir := b.BinDir
	if real, err := filepath.EvalSymlinks(b.Path("postgres")); err == nil {
		dir = filepath.Dir(real)
	}
	path = filepath.Join(dir, name)
	_, err := os.Stat(path)
	return path, err == nil
}

func (p *place) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var errs []error
	if p.server != nil {
		errs = append(errs, p.server.Kill(ctx))
	}
	for _, g := range p.stores {
		errs = append(errs, g.Kill())
	}
	errs = append(errs, os.RemoveAll(p.dir))
	if err := errors.Join(errs...); err != nil {
		note("cleaning up: %v", err)
	}
}

func (p *place) connect(ctx context.Context) (*pgx.Conn, error) { return p.server.Open(ctx, "bench") }

// query reads one value.
func (p *place) query(ctx context.Context, sql string, into any) error {
	conn, err := p.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := conn.QueryRow(ctx, sql).Scan(into); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}

func (p *place) exec(ctx context.Context, statements ...string) error {
	return p.server.Exec(ctx, "bench", statements...)
}

const flushedQuery = "select pg_current_wal_flush_lsn()::text"

// flushed returns the end of the server's durable WAL.
func (p *place) flushed(ctx context.Context) (wal.LSN, error) {
	var text string
	if err := p.query(ctx, flushedQuery, &text); err != nil {
		return 0, err
	}
	return wal.ParseLSN(text)
}

// buckets returns how to reach the regions' buckets, with keys below prefix.
func (p *place) buckets(prefix string) []bucket {
	var all []bucket
	for i, g := range p.stores {
		cfg := g.S3Config()
		cfg.Prefix = prefix
		all = append(all, bucket{regions[i], cfg})
	}
	return all
}

// bucket is one region's bucket. It goes to children over their standard input, secrets included.
type bucket struct {
	Region string
	S3     objectstore.S3Config
}

func (b bucket) open(ctx context.Context) (objectstore.Store, error) {
	return objectstore.Open(ctx, b.S3)
}

// empty removes everything below a prefix from both buckets' folders.
func (p *place) empty(prefix string) error {
	var errs []error
	for _, g := range p.stores {
		errs = append(errs, os.RemoveAll(filepath.Join(g.DataDir(), g.S3Config().Bucket, strings.TrimSuffix(prefix, "/"))))
	}
	return errors.Join(errs...)
}
