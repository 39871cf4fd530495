package activities

import (
	"context"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
)

const (
	// linkRole reads a branch for the server that serves.
	linkRole = "smartdr_link"
	// linkMark begins the comment on everything that SmartDR made for a link.
	linkMark = "SmartDR: link "
	// linksFile, in a branch's folder, says whom its server lets in for links.
	linksFile = "links.json"
	// linkKeyFile, in a branch's folder, is the private key of its half of the passwords.
	linkKeyFile = "link.key"
)

// linkRules are lines for a server's files, by the database that they let into.
type linkRules map[string]linkRule

type linkRule struct {
	HBA   []string `json:"hba"`
	Ident string   `json:"ident,omitempty"`
}

func (t *Target) openLink(ctx context.Context, in LinkInput) (LinkAccess, error) {
	l, err := t.linked(ctx, in.Group, in.Branch)
	if err != nil {
		return LinkAccess{}, err
	}
	a := l.branch.Attached
	access := LinkAccess{Attachment: a.ID, Workspace: l.workspace.Name, User: linkRole, Peer: l.oneHost()}
	if a.ReadOnly && !access.Peer {
		return access, fault.Newf(fault.Invalid, opLink, "branch %s is read-only and runs on host %s, and workspace %s elsewhere: a role to reach it with cannot be made in it", l.branch.Name, a.Host, l.workspace.Name).
			WithHint("Attach it read-write, or on host %s.", l.site().Host)
	}
	s, err := postgres.Load(a.Instance)
	if err != nil {
		return access, err
	}
	if access.User, err = t.linkRoleOf(ctx, s, l, in); err != nil {
		return access, err
	}
	rule, err := l.rule(s, in.Of, access)
	if err != nil {
		return access, err
	}
	if err := admitLink(ctx, s, in.Of, rule); err != nil {
		return access, err
	}
	if access.Peer {
		access.Host, access.Port = s.SocketDir, s.Port
		return access, nil
	}
	if len(a.Endpoint.Hosts) == 0 {
		return access, fault.Newf(fault.Transient, opLink, "branch %s has no endpoint yet", l.branch.Name)
	}
	access.Host, access.Port = a.Endpoint.Hosts[0].Host, a.Endpoint.Hosts[0].Port
	key, err := linkKey(s.InstanceDir())
	if err == nil {
		access.Key = encodeKey(key.PublicKey())
	}
	return access, err
}

// linkRoleOf returns the role that a link reads as, which is never a superuser: what tables run when they are read, as functions in their
// indexes, must not run as one. In a branch that can be written it is made; in a read-only one it is one that may read everything there.
func (t *Target) linkRoleOf(ctx context.Context, s *postgres.Server, l linked, in LinkInput) (string, error) {
	conn, err := s.Open(ctx, "postgres")
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // all was said
	var there bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1 and datallowconn)", in.Of).Scan(&there); err != nil {
		return "", sqlError(opLink, err)
	}
	if !there {
		return "", fault.Newf(fault.Missing, opLink, "branch %s has no database %q", in.Branch, in.Of)
	}
	if l.branch.Attached.ReadOnly {
		return roleThatReads(ctx, conn, in)
	}
	if err := makeLinkRole(ctx, conn, in.Of); err != nil || in.Key == "" {
		return linkRole, err
	}
	return linkRole, setLinkPassword(ctx, conn, s.InstanceDir(), in.Key)
}

func roleThatReads(ctx context.Context, conn *pgx.Conn, in LinkInput) (role string, err error) {
	err = conn.QueryRow(ctx, `select rolname from pg_roles r, pg_database d
		where datname = $1 and rolcanlogin and not rolsuper and has_database_privilege(r.oid, d.oid, 'connect')
		and (pg_has_role(r.oid, 'pg_read_all_data', 'usage') or r.oid = datdba)
		order by rolname <> $2, not pg_has_role(r.oid, 'pg_read_all_data', 'usage'), rolname limit 1`, in.Of, linkRole).Scan(&role)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", fault.Newf(fault.Invalid, opLink, "branch %s is read-only, and none of its roles but superusers may read all of database %s", in.Branch, in.Of).
			WithHint("Attach it read-write: a role that reads can be made in it then.")
	}
	return role, sqlError(opLink, err)
}

// makeLinkRole makes a role that may read everything, and do nothing else. Row security does not hold for it: a link shows tables that have
// any to their owners alone.
func makeLinkRole(ctx context.Context, conn *pgx.Conn, database string) error {
	var comment *string
	err := conn.QueryRow(ctx, "select shobj_description(oid, 'pg_authid') from pg_roles where rolname = $1", linkRole).Scan(&comment)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		_, err = conn.Exec(ctx, fmt.Sprintf("begin; create role %[1]s login; comment on role %[1]s is '%[2]srole'; commit", linkRole, linkMark))
	case err == nil && (comment == nil || !strings.HasPrefix(*comment, linkMark)):
		return fault.Newf(fault.Taken, opLink, "the branch has a role %s that SmartDR did not make", linkRole).WithHint("Rename it in the branch, and link again.")
	}
	if err != nil {
		return sqlError(opLink, err)
	}
	_, err = conn.Exec(ctx, fmt.Sprintf("alter role %[1]s nosuperuser nocreatedb nocreaterole noreplication inherit bypassrls; grant pg_read_all_data to %[1]s; grant connect on database %[2]s to %[1]s",
		linkRole, quoteIdent(database)))
	return sqlError(opLink, err)
}

// setLinkPassword gives the role the password that follows from both keys. What the server gets, and may log, is the SCRAM secret.
func setLinkPassword(ctx context.Context, conn *pgx.Conn, dir, peer string) error {
	key, err := linkKey(dir)
	if err != nil {
		return err
	}
	password, err := agreed(key, peer)
	if err != nil {
		return err
	}
	secret, err := scramSecret(password)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, fmt.Sprintf("alter role %s password '%s'", linkRole, secret))
	return sqlError(opLink, err)
}

// rule lets the server that serves into a database of the branch, and nobody else.
func (l linked) rule(s *postgres.Server, database string, a LinkAccess) (linkRule, error) {
	who := fmt.Sprintf("%s %s", quoteIdent(database), quoteIdent(a.User))
	if !a.Peer {
		rule := linkRule{HBA: []string{}}
		for _, from := range l.addresses() {
			rule.HBA = append(rule.HBA, fmt.Sprintf("host %s %s scram-sha-256", who, from))
		}
		return rule, nil
	}
	name := ""
	if s.Account != nil {
		name = s.Account.Name
	} else if u, err := user.LookupId(strconv.Itoa(os.Geteuid())); err == nil {
		name = u.Username
	}
	if name == "" { // an account without a name cannot be told apart; the socket folder's mode has to do
		return linkRule{HBA: []string{fmt.Sprintf("local %s trust", who)}}, nil
	}
	return linkRule{
		HBA:   []string{fmt.Sprintf("local %s peer map=%s", who, linkRole)},
		Ident: fmt.Sprintf("%s %s %s", linkRole, quoteIdent(name), quoteIdent(a.User)),
	}, nil
}

// addresses are those of the server that serves, as far as the group's firewall lets them through.
func (l linked) addresses() (all []netip.Prefix) {
	for _, h := range l.site().Endpoint.Hosts {
		ips, _ := net.LookupIP(h.Host) // one that has no address here lets nobody in
		for _, ip := range ips {
			addr, _ := netip.AddrFromSlice(ip)
			addr = addr.Unmap()
			if l.group.Firewall.IsZero() || l.group.Firewall.Contains(addr) {
				all = append(all, netip.PrefixFrom(addr, addr.BitLen()))
			}
		}
	}
	return all
}

// admitLink notes whom a branch's server lets in, and makes it.
func admitLink(ctx context.Context, s *postgres.Server, database string, rule linkRule) error {
	rules := linkRules{}
	if _, err := readState(s.InstanceDir(), linksFile, &rules); err != nil {
		return err
	}
	if have, want := toJSON(rules[database]), toJSON(rule); have != want {
		rules[database] = rule
		if err := writeState(s.InstanceDir(), linksFile, rules); err != nil {
			return err
		}
	}
	return keepLinks(ctx, s)
}

func toJSON(v any) string {
	b, _ := json.Marshal(v) // plain values only
	return string(b)
}

// keepLinks writes the rules of a branch's links before its other rules, where they are not there: whoever writes the others anew
// leaves them out.
func keepLinks(ctx context.Context, s *postgres.Server) error {
	rules := linkRules{}
	if found, err := readState(s.InstanceDir(), linksFile, &rules); err != nil || !found {
		return err
	}
	var hba, ident []string
	for _, r := range rules {
		hba, ident = append(hba, r.HBA...), append(ident, r.Ident)
	}
	slices.Sort(hba)
	changed, err := putBefore(s, s.HBAFile(), hba)
	if err != nil {
		return err
	}
	also, err := putBefore(s, s.IdentFile(), ident)
	if err != nil || !changed && !also {
		return err
	}
	return follow(ctx, s)
}

const (
	linkBegin = "# Links, written by SmartDR.\n"
	linkEnd   = "# End of links.\n"
)

// putBefore makes lines the first of a file of a server, in the place of those that it put there before.
func putBefore(s *postgres.Server, path string, lines []string) (changed bool, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return false, fault.New(fault.Transient, opAccess, err)
	}
	rest := string(b)
	if _, after, found := strings.Cut(rest, linkEnd); found && strings.HasPrefix(rest, linkBegin) {
		rest = after
	}
	lines = slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(lines))), func(l string) bool { return l == "" })
	if len(lines) > 0 {
		rest = linkBegin + strings.Join(lines, "\n") + "\n" + linkEnd + rest
	}
	if rest == string(b) {
		return false, nil
	}
	if err := replaceFile(path, []byte(rest)); err != nil {
		return false, fault.New(diskKind(err), opAccess, err)
	}
	return true, s.Own(path)
}

func (t *Target) closeLink(ctx context.Context, in LinkInput) error {
	l, err := t.linked(ctx, in.Group, in.Branch)
	if err != nil {
		return err
	}
	s, err := postgres.Load(l.branch.Attached.Instance)
	if err != nil {
		return err
	}
	rules := linkRules{}
	if found, err := readState(s.InstanceDir(), linksFile, &rules); err != nil || !found {
		return err
	}
	delete(rules, in.Of)
	if err := writeState(s.InstanceDir(), linksFile, rules); err != nil {
		return err
	}
	return keepLinks(ctx, s)
}

// linkKey returns the key that a branch's folder holds, after making it where there is none.
func linkKey(dir string) (*ecdh.PrivateKey, error) {
	path := filepath.Join(dir, linkKeyFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		key, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			return nil, fault.New(fault.Transient, "make key of link", err)
		}
		if err := replaceFile(path, key.Bytes()); err != nil { // replaceFile's files are for this account alone
			return nil, fault.New(diskKind(err), "write key of link", err)
		}
		return key, nil
	}
	if err != nil {
		return nil, fault.New(fault.Transient, "read key of link", err)
	}
	key, err := ecdh.X25519().NewPrivateKey(b)
	if err != nil {
		return nil, fault.Newf(fault.Corrupt, "read key of link", "%s holds no key", path)
	}
	return key, nil
}

func encodeKey(k *ecdh.PublicKey) string { return base64.StdEncoding.EncodeToString(k.Bytes()) }

// agreed is the password that follows from one's own key and the other side's public one. Both get the same, and nobody who has only
// seen the public keys gets it.
func agreed(key *ecdh.PrivateKey, peer string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(peer)
	if err != nil {
		return "", fault.Newf(fault.Invalid, opLink, "the other side's key is none")
	}
	other, err := ecdh.X25519().NewPublicKey(b)
	if err != nil {
		return "", fault.Newf(fault.Invalid, opLink, "the other side's key is none")
	}
	shared, err := key.ECDH(other)
	if err != nil {
		return "", fault.Newf(fault.Invalid, opLink, "the other side's key is none")
	}
	secret, err := hkdf.Key(sha256.New, shared, nil, "smartdr link password", 24)
	if err != nil {
		return "", fault.New(fault.Invalid, opLink, err)
	}
	return base64.RawURLEncoding.EncodeToString(secret), nil
}

func quoteIdent(name string) string { return pgx.Identifier{name}.Sanitize() }
