package activities

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
)

// AdminRole is the role that a managed workspace is administered with. It is no superuser: it could then leave the
// server, and write files beside those of other workspaces.
const AdminRole = "admin"

// adminMemberships are the predefined roles that an administrator is a member of, and may hand on; those that a version
// does not know are left out.
var adminMemberships = []string{
	"pg_read_all_data", "pg_write_all_data", "pg_monitor", "pg_signal_backend", "pg_checkpoint",
	"pg_use_reserved_connections", "pg_create_subscription", "pg_maintain",
}

// ensureAdmin makes the role admin with a password that only this host's file tells. What is sent to the server, and may
// get into its log, is the SCRAM secret.
func ensureAdmin(ctx context.Context, s *postgres.Server) error {
	password, err := ensurePassword(filepath.Join(s.InstanceDir(), passwordFile))
	if err != nil {
		return err
	}
	secret, err := scramSecret(password)
	if err != nil {
		return err
	}
	conn, err := s.Open(ctx, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // all was said
	var there bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_roles where rolname = $1)", AdminRole).Scan(&there); err != nil {
		return sqlError("make role admin", err)
	}
	verb := "create"
	if there {
		verb = "alter"
	}
	_, err = conn.Exec(ctx, fmt.Sprintf("%s role %s login createdb createrole password '%s'", verb, AdminRole, secret))
	if err != nil {
		return sqlError("make role admin", err)
	}
	if err := grantMemberships(ctx, conn); err != nil {
		return err
	}
	// Clients get into database postgres by default. It is not given to admin, who could drop or rename it then: the host
	// controls the server through it. An owner may create in schema public since PostgreSQL 15; so may admin there.
	_, err = conn.Exec(ctx, fmt.Sprintf("grant all on database postgres to %[1]s with grant option; grant all on schema public to %[1]s with grant option", AdminRole))
	return sqlError("let admin create in database postgres", err)
}

func grantMemberships(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, "select rolname from pg_roles where rolname = any($1) order by 1", adminMemberships)
	if err != nil {
		return sqlError("grant to admin", err)
	}
	known, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return sqlError("grant to admin", err)
	}
	_, err = conn.Exec(ctx, fmt.Sprintf("grant %s to %s with admin option", strings.Join(known, ", "), AdminRole))
	return sqlError("grant to admin", err)
}

// ensurePassword returns the password that the file holds, after making both where there is none.
func ensurePassword(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fault.New(fault.Transient, "read password of admin", err)
	}
	password := rand.Text()
	if err := replaceFile(path, []byte(password+"\n")); err != nil { // replaceFile's files are for this account alone
		return "", fault.New(diskKind(err), "write password of admin", err)
	}
	return password, nil
}

// scramIterations is PostgreSQL's own number (scram_iterations).
const scramIterations = 4096

// scramSecret is what PostgreSQL stores of a password: RFC 5803, as in pg_authid. The password has ASCII letters and
// digits only, so that it needs no preparation.
func scramSecret(password string) (string, error) {
	salt := make([]byte, 16)
	rand.Read(salt) // never fails
	salted, err := pbkdf2.Key(sha256.New, password, salt, scramIterations, sha256.Size)
	if err != nil {
		return "", fault.New(fault.Invalid, "derive secret of admin", err)
	}
	stored := sha256.Sum256(mac(salted, "Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", scramIterations, encode(salt), encode(stored[:]), encode(mac(salted, "Server Key"))), nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return slices.Clone(h.Sum(nil))
}
