package metadata

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/dsn"
)

// controlMap is the user name map by which a host controls the servers that it runs; package postgres writes its rules.
const controlMap = "smartdr"

// unknownRules hold where the primary's rules could not be read: passwords, from this host and its networks. They must not
// be wider than the primary's may have been.
var unknownRules = []HBARule{
	{Type: "local", Databases: []string{"all"}, Users: []string{"all"}, Method: "scram-sha-256"},
	{Type: "host", Databases: []string{"all"}, Users: []string{"all"}, Address: "samenet", Method: "scram-sha-256"},
}

// RuleNote says what became of a rule that was not carried over as it is.
type RuleNote struct {
	Rule string // as the primary has it, without secrets
	Text string
}

func (n RuleNote) String() string { return n.Text + ": " + n.Rule }

// HBA writes the access rules of a restored server in pg_hba.conf's form, in the primary's order, and says which could not
// be carried over; in front of them stands the group's firewall. Rules for this host's control are not among them, nor those of
// a firewall that the captured server had. FileErrors tells what the server makes of it. Errors are fault.Invalid: a range
// of the firewall that cannot be read.
func HBA(m Metadata, p Place) (text string, notes []RuleNote, err error) {
	rules := m.withoutFirewall()
	if !m.HBAKnown {
		rules = unknownRules
		notes = append(notes, RuleNote{"pg_hba.conf", "the primary's access rules are not known: only this host and its networks get in, with passwords; add rules to pg_hba.conf beside the data directory"})
	}
	var b strings.Builder
	b.WriteString("# Written by SmartDR: the group's firewall, and the primary's rules.\n")
	if err := writeRejects(&b, p.Firewall); err != nil {
		return "", nil, err
	}
	var written []string
	for _, r := range rules {
		line, note := r.carry(m, p.Host)
		if note != "" {
			notes = append(notes, RuleNote{r.format(), note})
		}
		if line == "" || slices.Contains(written, line) {
			continue
		}
		written = append(written, line)
		b.WriteString(line + "\n")
	}
	return b.String(), notes, nil
}

// withoutFirewall returns the captured rules without those that a firewall put in front. The marks tell them from a rule of
// the same form that is the user's own, and keeps somebody out.
func (m Metadata) withoutFirewall() []HBARule {
	begin := slices.IndexFunc(m.HBA, HBARule.isFirewallMark)
	if begin < 0 {
		return m.HBA
	}
	after := m.HBA[begin+1:]
	end := slices.IndexFunc(after, HBARule.isFirewallMark)
	if end < 0 {
		return m.HBA
	}
	return slices.Concat(m.HBA[:begin], after[end+1:])
}

func (r HBARule) isFirewallMark() bool { return r.format() == firewallMark }

// carry returns the rule as a line, "" if it cannot be carried over, and a note if somebody should know. A rule that
// cannot be carried over and stands before wider ones becomes a reject, so that what it covered does not fall to them.
func (r HBARule) carry(m Metadata, h Host) (line, note string) {
	switch {
	case r.isFirewallMark():
		return "", ""
	case slices.Contains(r.Options, "map="+controlMap):
		return "", ""
	case ambiguous(r, m):
		return "", "an access rule was left out, since a database is named like a keyword of pg_hba.conf"
	case r.Redacted:
		r.Method, r.Options = "reject", nil
		return r.format(), "an access rule holds a secret, which is not captured, and refuses until it is restored by hand"
	}
	if h.lacks(methodFeature[r.Method]) || r.Type == "hostgssenc" && h.lacks("gssapi") {
		method := r.Method
		r.Method, r.Options, r.Type = "reject", nil, strings.Replace(r.Type, "hostgssenc", "host", 1)
		return r.format(), fmt.Sprintf("PostgreSQL on this host is built without %s, and an access rule refuses until it is replaced", method)
	}
	if slices.Contains([]string{"gss", "pam", "ldap", "ident", "radius", "oauth"}, r.Method) {
		note = fmt.Sprintf("an access rule needs something on this host that may not be there (%s)", r.Method)
	}
	return r.format(), note
}

// methodFeature says what PostgreSQL must be built with to understand a method. A rule that it does not understand would keep
// the whole file from being loaded.
var methodFeature = map[string]string{"gss": "gssapi", "sspi": "sspi", "pam": "pam", "ldap": "ldap", "bsd": "bsd"}

// keywords mean more than a name where they are not quoted. pg_hba_file_rules does not say whether they were.
var keywords = []string{"all", "sameuser", "samerole", "samegroup", "replication"}

func ambiguous(r HBARule, m Metadata) bool {
	return slices.ContainsFunc(m.Databases, func(d Database) bool {
		return slices.Contains(keywords, d.Name) && slices.Contains(r.Databases, d.Name)
	})
}

func (r HBARule) format() string {
	fields := []string{r.Type, tokens(r.Databases), tokens(r.Users)}
	if r.Type != "local" {
		fields = append(fields, token(r.Address))
		if r.Netmask != "" {
			fields = append(fields, r.Netmask)
		}
	}
	fields = append(fields, r.Method)
	for _, o := range r.Options {
		fields = append(fields, token(o))
	}
	return strings.Join(fields, " ")
}

func tokens(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = token(s)
	}
	return strings.Join(out, ",")
}

// plainToken needs no quotes in pg_hba.conf. A leading + (members of a role) or / (a regular expression) works inside
// quotes for / and outside of them for + (src/backend/libpq/hba.c).
var plainToken = regexp.MustCompile(`^[A-Za-z0-9_.:/+=*-]+$`)

func token(s string) string {
	if plainToken.MatchString(s) {
		return s
	}
	prefix := ""
	if rest, ok := strings.CutPrefix(s, "+"); ok {
		prefix, s = "+", rest
	}
	return prefix + `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
}

// Ident writes the primary's user name maps in pg_ident.conf's form.
func Ident(m Metadata) string {
	var b strings.Builder
	for _, i := range m.Ident {
		if i.Map != controlMap {
			fmt.Fprintf(&b, "%s %s %s\n", token(i.Map), token(i.System), token(i.Username))
		}
	}
	return b.String()
}

// BadLine is a line of an access file that keeps the whole file from being loaded.
type BadLine struct {
	File string // base name
	Line int
	Err  string
}

func (b BadLine) String() string { return fmt.Sprintf("%s, line %d: %s", b.File, b.Line, b.Err) }

// BadLines asks a running server, as a superuser, which lines of its access files it does not understand. It reads the files
// as they are now, whether it follows them already or not.
func BadLines(ctx context.Context, conn *pgx.Conn) ([]BadLine, error) {
	rows, err := conn.Query(ctx, `select 'pg_hba.conf', line_number, error from pg_hba_file_rules where error is not null and type is null
		union all select 'pg_ident.conf', line_number, error from pg_ident_file_mappings where error is not null order by 1, 2`)
	if err != nil {
		return nil, dsn.ConnectError("ask for errors in access files", err)
	}
	wrong, err := pgx.CollectRows(rows, pgx.RowToStructByPos[BadLine])
	return wrong, dsn.ConnectError("ask for errors in access files", err)
}

// RejectInstead turns a rule that the server does not understand into one that refuses what it was for, so that it does not
// fall to a wider rule; false where not even that can be told.
func RejectInstead(rule string) (string, bool) {
	fields := accessFields(rule)
	if len(fields) < 4 || !slices.Contains(ruleTypes, fields[0][0].text) {
		return "", false
	}
	at := min(methodField(fields), len(fields))
	out := []string{strings.Replace(fields[0][0].text, "hostgssenc", "host", 1)}
	for _, f := range fields[1:at] {
		out = append(out, f.format())
	}
	return strings.Join(append(out, "reject"), " "), true
}

// FileErrors asks a running server, as a superuser, what is wrong with its access rules, user name maps and settings files.
func FileErrors(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	rows, err := conn.Query(ctx, `
		select 'pg_hba.conf, line ' || line_number || ': ' || error from pg_hba_file_rules where error is not null
		union all select 'pg_ident.conf, line ' || line_number || ': ' || error from pg_ident_file_mappings where error is not null
		union all select f.sourcefile || ', line ' || f.sourceline || ': ' || coalesce(f.name || ': ', '') || f.error from pg_file_settings f
			where f.error is not null and not exists (select from pg_settings s where s.name = f.name and s.source = 'command line')
		order by 1`)
	if err != nil {
		return nil, dsn.ConnectError("ask for errors in files", err)
	}
	wrong, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return wrong, dsn.ConnectError("ask for errors in files", err)
}
