package api

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// secretName matches names whose values are likely secrets; what is given here is kept in the buckets and in Temporal's
// history, where many read it.
var secretName = regexp.MustCompile(`(?i)passw|secret|token|credential|api_?key|private_?key`)

// notSecret are names that look like it and hold none.
var notSecret = []string{"password_encryption", "scram_iterations", "passwordcheck.min_length"}

// ruleSecret matches the options of pg_hba.conf that hold a secret (the manual, "LDAP Authentication" and "RADIUS
// Authentication").
var ruleSecret = regexp.MustCompile(`(?i)\b(ldapbindpasswd|radiussecrets)\s*=`)

func validSettings(at string, settings map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if err := validSetting(name, settings[name]); err != nil {
			return field(at+"."+name, err)
		}
	}
	return nil
}

func validSetting(name, value string) error {
	if secretName.MatchString(name) && !slices.Contains(notSecret, name) || dsn.Redact(value) != value {
		return fault.Newf(fault.Invalid, opSpec, "setting %s looks like a secret", name).
			WithHint("What is said here is kept in the buckets and in Temporal's history. Set it on the server: ALTER SYSTEM SET %s = ...", name)
	}
	return topology.CheckSettings(map[string]string{name: value})
}

// validRules checks lines of pg_hba.conf or pg_ident.conf as far as they can hurt; the server judges the rest.
func validRules(at, file string, lines []string) error {
	for i, line := range lines {
		at := fmt.Sprintf("%s[%d]", at, i)
		switch {
		case strings.ContainsAny(line, "\n\r\x00"):
			return field(at, fault.Newf(fault.Invalid, opSpec, "a rule for %s has more than one line", file).WithHint("Give each line as an entry of its own."))
		case ruleSecret.MatchString(line):
			return field(at, fault.Newf(fault.Invalid, opSpec, "a rule for %s holds a secret", file).
				WithHint("What is said here is kept in the buckets and in Temporal's history. Put the rule on the server by hand, or use another method."))
		}
	}
	return nil
}
