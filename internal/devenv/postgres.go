package devenv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest/cluster"
	"github.com/smartdr/smartdr/internal/topology"
)

// MajorsVariable names the environment variable that lists the PostgreSQL majors that tests run on, as "15 18".
const MajorsVariable = "SMARTDR_TEST_PG_MAJORS"

// Majors returns the majors to test on: those of MajorsVariable, else the newest that is installed.
func Majors() ([]int, error) {
	var majors []int
	for _, f := range strings.FieldsFunc(os.Getenv(MajorsVariable), func(r rune) bool { return r == ' ' || r == ',' }) {
		m, err := strconv.Atoi(f)
		if err != nil {
			return nil, fault.Newf(fault.Invalid, "read "+MajorsVariable, "%q is not a major version", f)
		}
		majors = append(majors, m)
	}
	if len(majors) > 0 {
		return majors, nil
	}
	bin, err := postgres.FindAny(PostgresDirs())
	if err != nil {
		return nil, err
	}
	return []int{bin.Major()}, nil
}

// PostgresOptions describe a server. The zero value of all but Dir is a choice.
type PostgresOptions struct {
	Dir      string            // its instance folder; made, or used again with what is in it
	Major    int               // default: the newest that is installed
	Port     int               // default: a free one
	Settings map[string]string // besides those of defaultSettings
	Init     postgres.InitOptions
	Outlive  bool // it lives on when this process ends
}

// Postgres is a PostgreSQL server that other hosts' programs would reach by TCP, with passwords.
type Postgres struct {
	*postgres.Server
	PasswordFile string // holds the superuser's password
}

// defaultSettings leave a server fit to be replicated, as Debian's package would but for the limit of what slots keep.
var defaultSettings = map[string]string{
	"wal_level": "replica", "max_wal_senders": "10", "max_replication_slots": "10", "max_slot_wal_keep_size": "4GB",
	"shared_buffers": "128MB", "max_wal_size": "1GB", "log_checkpoints": "off",
}

// clientRules let every role in by TCP from this host with its password.
const clientRules = `host all all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
`

// StartPostgres makes a server, or takes the one that is in opts.Dir, and starts it.
func StartPostgres(ctx context.Context, opts PostgresOptions) (*Postgres, error) {
	p := &Postgres{PasswordFile: filepath.Join(opts.Dir, "superuser.password")}
	var err error
	p.Server, err = postgres.Load(opts.Dir)
	if err == nil {
		p.DieWithParent = !opts.Outlive
		return p, p.Start(ctx)
	}
	if !fault.Is(err, fault.Missing) {
		return nil, err
	}
	if p.Server, err = newServer(opts); err != nil {
		return nil, err
	}
	if err := p.create(ctx, opts.Init); err != nil {
		killCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return nil, errors.Join(err, p.Kill(killCtx))
	}
	return p, nil
}

func newServer(opts PostgresOptions) (*postgres.Server, error) {
	bin, err := findPostgres(opts.Major)
	if err != nil {
		return nil, err
	}
	account, err := postgres.DefaultAccount()
	if err != nil {
		return nil, err
	}
	if opts.Port == 0 {
		if opts.Port, err = FreePort(); err != nil {
			return nil, err
		}
	}
	settings := maps.Clone(defaultSettings)
	maps.Copy(settings, opts.Settings)
	return &postgres.Server{
		Bin: bin, Account: account, Superuser: "postgres", DieWithParent: !opts.Outlive,
		DataDir: filepath.Join(opts.Dir, "data"), SocketDir: filepath.Join(opts.Dir, "socket"), LogFile: filepath.Join(opts.Dir, "postgresql.log"),
		Listen: "127.0.0.1", Port: opts.Port, Settings: settings,
	}, nil
}

func findPostgres(major int) (postgres.Binaries, error) {
	if major == 0 {
		return postgres.FindAny(PostgresDirs())
	}
	return postgres.Find(major, PostgresDirs())
}

func (p *Postgres) create(ctx context.Context, o postgres.InitOptions) error {
	if err := cluster.Init(ctx, p.Server, o); err != nil {
		return err
	}
	if err := p.WriteHBA(clientRules); err != nil {
		return err
	}
	if err := p.Start(ctx); err != nil {
		return err
	}
	password := newPassword()
	if err := os.WriteFile(p.PasswordFile, []byte(password+"\n"), 0o600); err != nil {
		return err
	}
	if err := p.Exec(ctx, "postgres", fmt.Sprintf("alter role postgres password '%s'", password)); err != nil {
		return err
	}
	return p.Save()
}

// newPassword returns one that needs no quoting.
func newPassword() string { return rand.Text() }

// Exec runs statements in a database as the superuser.
func (p *Postgres) Exec(ctx context.Context, database string, statements ...string) error {
	conn, err := p.Open(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			verb, _, _ := strings.Cut(s, " ") // the rest may hold a password
			return fmt.Errorf("%s in database %s: %w", verb, database, err)
		}
	}
	return nil
}

// Addr returns host and port.
func (p *Postgres) Addr() string { return fmt.Sprintf("127.0.0.1:%d", p.Port) }

// RemoteSource returns how SmartDR's worker reaches a database as the superuser, with a password, as if from another host.
func (p *Postgres) RemoteSource(database string) topology.Source {
	return topology.Source{ConnString: p.URL("postgres", database), PasswordFile: p.PasswordFile}
}

// URL returns a connection string without password.
func (p *Postgres) URL(user, database string) string {
	return fmt.Sprintf("postgresql://%s@%s/%s?sslmode=disable", user, p.Addr(), database)
}

// Connect connects by TCP as any role.
func Connect(ctx context.Context, url, password string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	cfg.Password = password
	cfg.ConnectTimeout = 10 * time.Second
	return pgx.ConnectConfig(ctx, cfg)
}

// Restart starts the server again with the same data, after killing it if it still runs.
func (p *Postgres) Restart(ctx context.Context) error {
	if err := p.Kill(ctx); err != nil {
		return err
	}
	return p.Start(ctx)
}
