package fence

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
)

// keptCopy is where the access rules are kept besides, in the data directory, for a person to put back.
const keptCopy = "pg_hba.conf.before_smartdr_fence"

const (
	fencedHead = "# Fenced by SmartDR: this server takes no clients, since another one serves, or is about to.\n"
	fencedBy   = "# For: "
	// fencedRole is nobody's name. A rule for it tells whoever reads rules by SQL, where comments don't show, whose they are.
	fencedRole = "smartdr fenced"
	keptBegin  = "# smartdr-original-begin\n"
	keptEnd    = "# smartdr-original-end\n"
)

// narrowRules replaces pg_hba.conf. Where that is not possible the fence goes on without.
func (a *applying) narrowRules(ctx context.Context) error {
	now, err := a.readFile(ctx, a.hbaFile)
	if err != nil {
		return a.withoutRules(ctx, err)
	}
	original := now
	if fencedRules(now) { // what is left of the former rules is narrow already
		if original, err = originalRules(now); err != nil {
			return err
		}
	} else if err := a.writeFile(ctx, keptCopy, now); err != nil { // for people; what counts is in the file itself
		a.by("the former access rules are kept within %s alone (%v)", a.hbaFile, err)
	}
	narrow, err := a.narrowed(ctx, original)
	if err != nil {
		return err
	}
	if !bytes.Equal(narrow, now) {
		if err := a.writeFile(ctx, a.hbaFile, narrow); err != nil {
			return a.withoutRules(ctx, err)
		}
	}
	a.rules = true
	a.by("%s lets in superusers through the server's socket, role %s, and replication", a.hbaFile, a.role)
	return nil
}

func (a *applying) withoutRules(ctx context.Context, err error) error {
	if codeOf(err) == "" {
		return failed("narrow access rules", err) // the connection broke
	}
	a.because("%s cannot be changed (%v), so that a superuser from elsewhere can get past session_preload_libraries", a.hbaFile, err)
	if a.noSettings || a.mark.NoRules {
		return nil
	}
	a.mark.NoRules = true
	return a.writeMark(ctx, a.mark, "")
}

// Narrowed reports whether a rule for these users is one of a fence, and so all rules beside it.
func Narrowed(users []string) bool { return slices.Equal(users, []string{fencedRole}) }

func fencedRules(content []byte) bool { return bytes.HasPrefix(content, []byte(fencedHead)) }

// originalRules returns the access rules that a fence replaced, byte by byte.
func originalRules(content []byte) ([]byte, error) {
	_, rest, began := bytes.Cut(content, []byte(keptBegin))
	kept, _, ended := bytes.Cut(rest, []byte(keptEnd))
	if !began || !ended {
		return nil, fault.Newf(fault.Corrupt, "restore access rules", "the fence's pg_hba.conf does not hold the former rules as a whole").
			WithHint("They are in %s in the data directory: put them back by hand, and reload.", keptCopy)
	}
	kept = bytes.ReplaceAll(bytes.ReplaceAll(kept, []byte("# "), nil), []byte("\n"), nil)
	b, err := base64.StdEncoding.DecodeString(string(kept))
	if err != nil {
		return nil, fault.New(fault.Corrupt, "restore access rules", err).WithHint("They are in %s in the data directory.", keptCopy)
	}
	return b, nil
}

// keep writes the former rules as comments.
func keep(original []byte) string {
	text := base64.StdEncoding.EncodeToString(original)
	var b strings.Builder
	b.WriteString(keptBegin)
	for len(text) > 0 {
		n := min(len(text), 96)
		b.WriteString("# " + text[:n] + "\n")
		text = text[n:]
	}
	b.WriteString(keptEnd)
	return b.String()
}

// rule is a line of pg_hba_file_rules.
type rule struct {
	Type      string
	Databases []string
	Users     []string
	Address   *string
	Netmask   *string
	Method    string
	Options   []string
}

// narrowed are the rules of a fenced server: those for replication as they are; those for others only as far as they let in
// SmartDR's own role and, through the socket, superusers.
func (a *applying) narrowed(ctx context.Context, original []byte) ([]byte, error) {
	rules, err := a.readRules(ctx)
	if err != nil {
		return nil, err
	}
	people, err := a.readPeople(ctx)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString(fencedHead)
	b.WriteString(fencedBy + oneLine(a.options.By) + "\n")
	b.WriteString("local all " + quoted(fencedRole) + " reject\n")
	b.WriteString("# SmartDR puts the former rules back when it lifts the fence. By hand, as a superuser of this host:\n")
	b.WriteString("#   PGOPTIONS='-c session_preload_libraries=' psql -c 'ALTER SYSTEM RESET session_preload_libraries' ..., and the copy\n")
	fmt.Fprintf(&b, "#   %s of the data directory over this file. As long as another region serves, SmartDR fences again.\n", keptCopy)
	for _, r := range rules {
		for _, line := range r.narrow(a.role, people) {
			b.WriteString(line + "\n")
		}
	}
	b.WriteString(keep(original))
	return []byte(b.String()), nil
}

// rulesBy returns for whom the rules were narrowed.
func rulesBy(content []byte) string {
	_, rest, _ := bytes.Cut(content, []byte(fencedBy))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return string(line)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func (s *session) readRules(ctx context.Context) ([]rule, error) {
	rows, err := s.Query(ctx, `SELECT type, database, user_name, address, netmask, auth_method, coalesce(options, '{}')
		FROM pg_hba_file_rules WHERE error IS NULL AND type IS NOT NULL ORDER BY row_number() OVER ()`)
	if err != nil {
		return nil, failed("read access rules", err)
	}
	rules, err := pgx.CollectRows(rows, pgx.RowToStructByPos[rule])
	return rules, failed("read access rules", err)
}

// people are the superusers, and the roles that they are members of.
type people struct {
	superusers []string
	groups     map[string][]string // by member
}

func (s *session) readPeople(ctx context.Context) (people, error) {
	p := people{groups: map[string][]string{}}
	rows, err := s.Query(ctx, `WITH RECURSIVE m(member, role) AS (
			SELECT a.member, a.roleid FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.member WHERE r.rolsuper
			UNION SELECT m.member, a.roleid FROM m JOIN pg_auth_members a ON a.member = m.role)
		SELECT r.rolname::text, (SELECT coalesce(array_agg(pg_get_userbyid(m.role)::text), '{}') FROM m WHERE m.member = r.oid) FROM pg_roles r WHERE r.rolsuper ORDER BY 1`)
	if err != nil {
		return p, failed("read superusers", err)
	}
	var name string
	var groups []string
	_, err = pgx.ForEachRow(rows, []any{&name, &groups}, func() error {
		p.superusers = append(p.superusers, name)
		p.groups[name] = slices.Clone(groups)
		return nil
	})
	return p, failed("read superusers", err)
}

// narrow returns what is left of a rule: lines of pg_hba.conf.
func (r rule) narrow(own string, p people) (lines []string) {
	others := slices.DeleteFunc(slices.Clone(r.Databases), func(d string) bool { return d == "replication" })
	if len(others) < len(r.Databases) {
		lines = append(lines, r.line([]string{"replication"}, r.Users, false))
	}
	let := []string{own}
	if r.Type == "local" {
		let = slices.Compact(slices.Sorted(slices.Values(append(let, p.superusers...))))
	}
	let = slices.DeleteFunc(let, func(role string) bool { return !r.names(role, p.groups[role]) })
	if len(others) > 0 && len(let) > 0 {
		lines = append(lines, r.line(others, let, true))
	}
	return lines
}

// names reports whether a rule is for a role (check_role in hba.c).
func (r rule) names(role string, groups []string) bool {
	return slices.ContainsFunc(r.Users, func(u string) bool {
		switch {
		case u == "all", u == role:
			return true
		case strings.HasPrefix(u, "+"):
			return u[1:] == role || slices.Contains(groups, u[1:])
		case strings.HasPrefix(u, "/"):
			re, err := regexp.Compile(u[1:])
			return err == nil && re.MatchString(role)
		}
		return false
	})
}

// line writes a rule. exact users are names, and not what a rule may say instead.
func (r rule) line(databases, users []string, exact bool) string {
	if exact {
		for i := range users {
			users[i] = quoted(users[i])
		}
	} else {
		users = tokens(users)
	}
	parts := []string{r.Type, strings.Join(tokens(databases), ","), strings.Join(users, ",")}
	if r.Address != nil {
		parts = append(parts, token(*r.Address))
		if r.Netmask != nil {
			parts = append(parts, *r.Netmask)
		}
	}
	parts = append(parts, r.Method)
	for _, o := range r.Options {
		parts = append(parts, quoted(o))
	}
	return strings.Join(parts, " ")
}

func tokens(all []string) []string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = token(s)
	}
	return out
}

// plainToken needs no quotes: keywords must not have any.
var plainToken = regexp.MustCompile(`^[A-Za-z0-9_.:/+-]+$`)

func token(s string) string {
	if plainToken.MatchString(s) {
		return s
	}
	if strings.HasPrefix(s, "+") {
		return "+" + quoted(s[1:])
	}
	return quoted(s)
}

func quoted(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// readFile reads a file of the server's host.
func (s *session) readFile(ctx context.Context, path string) (content []byte, err error) {
	err = s.QueryRow(ctx, `SELECT pg_read_binary_file($1)`, path).Scan(&content)
	return content, err
}

// writeFile writes a file of the server's host, byte by byte, by a large object that is never committed. A file that is there
// keeps its owner and mode.
func (s *session) writeFile(ctx context.Context, path string, content []byte) error {
	tx, err := s.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadWrite})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing of it is meant to stay
	var object uint32
	if err := tx.QueryRow(ctx, `SELECT lo_from_bytea(0, $1)`, content).Scan(&object); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `SELECT lo_export($1, $2)`, object, path)
	return err
}
