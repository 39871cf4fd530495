// Package dsn turns a source's connection string into what a driver needs, and keeps its password out of sight.
// Connection strings are libpq's (the manual's chapter "Connection Strings"), without a password in them.
package dsn

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// Parsed is what a connection string says, without any secret.
type Parsed struct {
	Hosts              []topology.HostPort // in order; a host that begins with a slash is a socket folder
	Database           string
	User               string
	TargetSessionAttrs string // "any" unless the string says otherwise
}

const opParse = "read connection string"

// passwordHint says where a password may stand.
const passwordHint = "Take the password out of the connection string, and name its place with passwordFile or passwordEnv, or put it in ~/.pgpass of the user that the worker runs as."

// allowedKeys are the connection parameters that the driver or the server understands. Anything else would be sent to
// the server as a setting and be refused there with a message about neither.
var allowedKeys = []string{
	"host", "port", "dbname", "user", "passfile", "connect_timeout", "target_session_attrs",
	"ssl", "sslmode", "sslkey", "sslcert", "sslcertmode", "sslrootcert", "sslnegotiation", "sslsni",
	"krbspn", "krbsrvname", "service", "servicefile", "min_protocol_version", "max_protocol_version",
	"channel_binding", "require_auth", "application_name", "options", "client_encoding",
}

// ignoredKeys are libpq's parameters that do not matter here: Go keeps TCP connections alive by itself.
var ignoredKeys = []string{
	"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
	"fallback_application_name", "gssencmode", "replication",
}

// Parse validates a source and returns what its string says. It does not look for the password, nor for certificates and
// keys: they are on the hosts that connect, and this need not be one. All errors are fault.Invalid.
func Parse(src topology.Source) (Parsed, error) {
	cfg, err := parse(src)
	if notHere := new(fs.PathError); errors.As(err, &notHere) {
		src.ConnString = withoutFiles(src.ConnString)
		cfg, err = parse(src)
	}
	if err != nil {
		return Parsed{}, err
	}
	return Parsed{
		Hosts: hosts(cfg), Database: cfg.Database, User: cfg.User, TargetSessionAttrs: TargetSessionAttrs(cfg),
	}, nil
}

// ConnConfig returns the driver's configuration for a source, with the password from its place and with the certificates and
// keys of the files that its string names. Errors are fault.Invalid and name the place, never what was found there.
func ConnConfig(src topology.Source) (*pgconn.Config, error) {
	cfg, err := parse(src)
	if err != nil {
		return nil, err
	}
	password, found, err := readPassword(src)
	if err != nil {
		return nil, err
	}
	if found {
		cfg.Password = password
	}
	return cfg, nil
}

func parse(src topology.Source) (*pgconn.Config, error) {
	if strings.TrimSpace(src.ConnString) == "" {
		return nil, fault.Newf(fault.Invalid, opParse, "the connection string is empty").
			WithHint("Give one as postgres://user@host:5432/database.")
	}
	if src.PasswordFile != "" && src.PasswordEnv != "" {
		return nil, fault.Newf(fault.Invalid, opParse, "both passwordFile and passwordEnv are set").
			WithHint("Name one place for the password.")
	}
	cfg, err := parseAllowing(src.ConnString, "password", "sslpassword")
	if file := new(fs.PathError); errors.As(err, &file) {
		return nil, fault.New(fault.Invalid, opParse, explain(err)).WithHint("The worker that connects must be able to read %s.", file.Path)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, opParse, explain(err)).
			WithHint("Write it as postgres://user@host:5432/database?sslmode=require or as host=... user=... dbname=...")
	}
	if _, err := parseAllowing(src.ConnString); err != nil {
		return nil, fault.Newf(fault.Invalid, opParse, "the connection string holds a password").WithHint(passwordHint)
	}
	maps.DeleteFunc(cfg.RuntimeParams, func(k, _ string) bool { return slices.Contains(ignoredKeys, k) })
	return cfg, nil
}

func parseAllowing(connString string, more ...string) (*pgconn.Config, error) {
	keys := slices.Concat(allowedKeys, ignoredKeys, more)
	return pgconn.ParseConfigWithOptions(connString, pgconn.ParseConfigOptions{ConnStringAllowedKeys: keys})
}

// explain keeps the reason of a parse error and drops the connection string, which may be malformed in a way that
// hides where its password ends.
func explain(err error) error {
	var parseErr *pgconn.ParseConfigError
	if !errors.As(err, &parseErr) {
		return errors.New(Redact(err.Error()))
	}
	if file := new(fs.PathError); errors.As(err, &file) {
		return fmt.Errorf("a file that the connection string names: %w", file)
	}
	text := err.Error()
	if i := strings.LastIndex(text, "`: "); i >= 0 {
		text = text[i+len("`: "):]
	}
	return fmt.Errorf("not a connection string: %s", Redact(text))
}

func readPassword(src topology.Source) (password string, found bool, err error) {
	switch {
	case src.PasswordFile != "":
		b, err := os.ReadFile(src.PasswordFile)
		if err != nil {
			return "", false, fault.New(fault.Invalid, "read password file", err).
				WithHint("The worker that connects must be able to read %s.", src.PasswordFile)
		}
		password = strings.TrimRight(string(b), "\r\n")
		if password == "" {
			return "", false, fault.Newf(fault.Invalid, "read password file", "%s is empty", src.PasswordFile).
				WithHint("The file holds the password alone, on one line.")
		}
		return password, true, nil
	case src.PasswordEnv != "":
		password := os.Getenv(src.PasswordEnv)
		if password == "" {
			return "", false, fault.Newf(fault.Invalid, "read password", "the variable %s is not set", src.PasswordEnv).
				WithHint("Set %s in the environment of the worker that connects.", src.PasswordEnv)
		}
		return password, true, nil
	}
	return "", false, nil
}

// hosts lists each address once: the driver repeats an address when it may try it with and without TLS.
func hosts(cfg *pgconn.Config) []topology.HostPort {
	out := []topology.HostPort{{Host: cfg.Host, Port: int(cfg.Port)}}
	for _, f := range cfg.Fallbacks {
		hp := topology.HostPort{Host: f.Host, Port: int(f.Port)}
		if !slices.Contains(out, hp) {
			out = append(out, hp)
		}
	}
	return out
}

// TargetSessionAttrs returns the parameter of that name. The driver keeps of it only the function that checks a new
// connection, and those for "primary" and "standby" run a query, which a replication connection does not.
func TargetSessionAttrs(cfg *pgconn.Config) string {
	if cfg.ValidateConnect == nil {
		return "any"
	}
	got := reflect.ValueOf(cfg.ValidateConnect).Pointer()
	for name, f := range map[string]pgconn.ValidateConnectFunc{
		"read-write":     pgconn.ValidateConnectTargetSessionAttrsReadWrite,
		"read-only":      pgconn.ValidateConnectTargetSessionAttrsReadOnly,
		"primary":        pgconn.ValidateConnectTargetSessionAttrsPrimary,
		"standby":        pgconn.ValidateConnectTargetSessionAttrsStandby,
		"prefer-standby": pgconn.ValidateConnectTargetSessionAttrsPreferStandby,
	} {
		if reflect.ValueOf(f).Pointer() == got {
			return name
		}
	}
	return "unknown"
}
