package api

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/fault"
)

// settingName is what names of settings look like, with the dot of an extension's own.
var settingName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*$`)

// secretName matches names whose values are likely secrets; what is given here is kept in the buckets and in Temporal's
// history, where many read it.
var secretName = regexp.MustCompile(`(?i)passw|secret|token|credential|api_?key|private_?key`)

// secretNames hold no secret though they look like it.
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
	switch {
	case !settingName.MatchString(name):
		return fault.Newf(fault.Invalid, opSpec, "%q is no name of a setting", name).
			WithHint("Name it as postgresql.conf does, as work_mem=64MB.")
	case secretName.MatchString(name) && !slices.Contains(notSecret, strings.ToLower(name)), dsn.Redact(value) != value:
		return fault.Newf(fault.Invalid, opSpec, "setting %s looks like a secret", name).
			WithHint("What is said here is kept in the buckets and in Temporal's history. Set it on the server: ALTER SYSTEM SET %s = ...", name)
	case strings.ContainsAny(value, "\n\r\x00"):
		return fault.Newf(fault.Invalid, opSpec, "the value of setting %s has more than one line", name)
	}
	return nil
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
