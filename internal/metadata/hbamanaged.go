package metadata

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// ManagedHBA writes the access rules of a server that SmartDR manages, in pg_hba.conf's form: what lies outside of the
// firewall is refused first; then come the workspace's own rules; then passwords from within the firewall's ranges, which let
// nobody in for replication. Rules for this host's control are not among them, and stand before them.
// Errors are fault.Invalid and name the line; one that holds a secret is not repeated.
func ManagedHBA(f topology.Firewall, rules []string) (string, error) {
	var b strings.Builder
	b.WriteString("# Written by SmartDR: the group's firewall, and the workspace's own rules.\n")
	if err := writeRejects(&b, f); err != nil {
		return "", err
	}
	for i, rule := range rules {
		if err := checkRule(rule); err != nil {
			return "", lineError("access rules", i, err)
		}
		b.WriteString(rule + "\n")
	}
	from := f.Ranges
	if f.AllowAll {
		from = []string{"all"}
	}
	for _, r := range from {
		fmt.Fprintf(&b, "host all all %s scram-sha-256\n", r)
	}
	return b.String(), nil
}

// ManagedIdent writes a workspace's own user name maps, in pg_ident.conf's form. Errors are fault.Invalid and name the line.
func ManagedIdent(lines []string) (string, error) {
	var b strings.Builder
	for i, line := range lines {
		if err := checkMap(line); err != nil {
			return "", lineError("user name maps", i, err)
		}
		b.WriteString(line + "\n")
	}
	return b.String(), nil
}

func lineError(what string, i int, err error) error {
	return fault.Newf(fault.Invalid, "read "+what, "line %d: %w", i+1, err)
}

// firewallMark stands before and after the rules of a firewall, so that they are known again when rules are captured. Nobody
// connects by that name, and nobody is let in.
const firewallMark = `local all "smartdr firewall" reject`

// writeRejects refuses everything outside the firewall's ranges, replication too, which "all" does not mean.
func writeRejects(b *strings.Builder, f topology.Firewall) error {
	outside, err := f.Complement()
	if err != nil || len(outside) == 0 {
		return err
	}
	b.WriteString(firewallMark + "\n")
	for _, p := range outside {
		fmt.Fprintf(b, "host all,replication all %s reject\n", p)
	}
	b.WriteString(firewallMark + "\n")
	return nil
}

// maxRule is the longest line, in bytes, that is taken.
const maxRule = 2000

// checkLine refuses what no line may have, and returns its fields.
func checkLine(line string) ([]accessField, error) {
	switch {
	case len(line) > maxRule:
		return nil, fmt.Errorf("it has more than %d bytes", maxRule)
	case strings.ContainsAny(line, "\n\x00"):
		return nil, fmt.Errorf("it is more than one line: write each rule as a line of its own")
	case strings.HasSuffix(line, `\`):
		return nil, fmt.Errorf("it ends in a backslash, which would join the next line to it")
	}
	words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r\",#", r) }) // of comments, too
	for _, w := range words {
		if name, ok := secretIn(w); ok {
			return nil, fmt.Errorf("it holds a secret (%s), which would be kept in the catalog: use a method without one, or a file of the host", name)
		}
	}
	fields := accessFields(line)
	for _, f := range fields {
		for _, t := range f {
			if !t.quoted && len(t.text) > 1 && t.text[0] == '@' {
				return nil, fmt.Errorf("%s includes a file of this host, which other hosts do not have: write the names themselves", t.text)
			}
		}
	}
	if len(fields) > 0 && !fields[0][0].quoted && strings.HasPrefix(fields[0][0].text, "include") {
		return nil, fmt.Errorf("%s reads a file of this host, which other hosts do not have: write the lines themselves", fields[0][0].text)
	}
	return fields, nil
}

// secretIn returns the name of the option that holds a secret, if the word is one.
func secretIn(word string) (name string, found bool) {
	name, _, ok := strings.Cut(word, "=")
	switch {
	case ok && secretOption.MatchString(name):
		return name, true
	case urlPassword.MatchString(word):
		return "a URL with a password", true
	}
	return "", false
}

var (
	ruleTypes   = []string{"local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"}
	ruleMethods = []string{
		"trust", "reject", "scram-sha-256", "md5", "password", "gss", "sspi", "ident", "peer", "ldap", "radius", "cert", "pam", "bsd", "oauth",
	}
)

// checkRule refuses a line that is no access rule, or one that must not be kept. An empty line and a comment are fine. What
// it cannot know, as whether a method was built in, the server says.
func checkRule(line string) error {
	fields, err := checkLine(line)
	if err != nil || len(fields) == 0 {
		return err
	}
	if kind := fields[0].texts(); len(kind) != 1 || !slices.Contains(ruleTypes, kind[0]) {
		return fmt.Errorf("%q begins with none of %s", line, strings.Join(ruleTypes, ", "))
	}
	at := methodField(fields)
	if len(fields) <= at {
		return fmt.Errorf("%q is too short: a rule names databases, users, an address unless it is local, and a method", line)
	}
	if method := fields[at][0].text; len(fields[at]) != 1 || !slices.Contains(ruleMethods, method) {
		return fmt.Errorf("%q names %q as its method, which is none of %s", line, method, strings.Join(ruleMethods, ", "))
	}
	return checkOptions(line, fields[at+1:])
}

// methodField returns which field of a rule is its method.
func methodField(fields []accessField) int {
	if fields[0][0].text == "local" {
		return 3
	}
	if len(fields) > 3 {
		if _, err := netip.ParseAddr(fields[3][0].text); err == nil { // a mask of its own follows
			return 5
		}
	}
	return 4
}

func checkOptions(line string, options []accessField) error {
	for _, o := range options {
		name, value, ok := strings.Cut(o[0].text, "=")
		if !ok {
			return fmt.Errorf("%q has %q after its method, which is no option: options are written name=value", line, o[0].text)
		}
		if name == "map" && value == controlMap {
			return fmt.Errorf("%q uses the user name map %s, by which SmartDR controls the server: use one of your own", line, controlMap)
		}
	}
	return nil
}

func checkMap(line string) error {
	fields, err := checkLine(line)
	if err != nil || len(fields) == 0 {
		return err
	}
	if len(fields) != 3 || slices.ContainsFunc(fields, func(f accessField) bool { return len(f) != 1 }) {
		return fmt.Errorf("%q is no user name map: it names a map, a user of the system and a role", line)
	}
	if fields[0][0].text == controlMap {
		return fmt.Errorf("%q adds to the user name map %s, by which SmartDR controls the server: use one of your own", line, controlMap)
	}
	return nil
}

// Access is who may get into a server besides its host's control.
type Access struct {
	HBA, Ident string
	Notes      []RuleNote // what could not be carried over
}

// AccessOf decides who may get into a workspace's server that SmartDR runs: the firewall first, then the rules that the
// catalog holds, or, for a server that was adopted and that nobody gave rules of our own, those that were captured.
// Errors are fault.Invalid and name the line or the range.
func AccessOf(g topology.Group, w topology.Workspace, m Metadata, p Place) (a Access, err error) {
	p.Firewall = g.Firewall
	if w.Managed(g.Primary) || len(w.HBA) > 0 {
		a.HBA, err = ManagedHBA(p.Firewall, w.HBA)
	} else {
		a.HBA, a.Notes, err = HBA(m, p)
	}
	if err != nil {
		return Access{}, err
	}
	if w.Managed(g.Primary) || len(w.Ident) > 0 {
		a.Ident, err = ManagedIdent(w.Ident)
	} else {
		a.Ident = Ident(m)
	}
	return a, err
}
