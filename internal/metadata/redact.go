package metadata

import (
	"regexp"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/dsn"
)

// secretSettings are PostgreSQL's own that hold secrets: a conninfo holds a password, and a command often holds keys. None
// of them is of use on another host.
var secretSettings = []string{
	"primary_conninfo", "ssl_passphrase_command", "archive_command", "restore_command", "archive_cleanup_command", "recovery_end_command",
}

var (
	// secretName is what custom settings (those with a dot) are called that hold secrets, as app.jwt_secret does.
	secretName = regexp.MustCompile(`(?i)passw|passphrase|secret|token|credential|(^|[._])(api|access|private|encryption|master)?_?key$|conninfo|dsn|_command$`)
	// urlPassword is a URL with a password in it.
	urlPassword = regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@`)
	// secretOption is the name of an option of an access rule that holds a secret: ldapbindpasswd, radiussecrets.
	secretOption = regexp.MustCompile(`(?i)passw|secret`)
)

// isSecret reports whether a setting's value must not be captured.
func isSecret(name, value string) bool {
	switch {
	case value == "":
		return false
	case slices.Contains(secretSettings, name):
		return true
	case strings.Contains(name, ".") && secretName.MatchString(name):
		return true
	}
	return dsn.Redact(value) != value || urlPassword.MatchString(value)
}

// withoutSecrets drops options of an access rule that hold secrets.
func withoutSecrets(options []string) (kept []string, dropped bool) {
	for _, o := range options {
		name, value, _ := strings.Cut(o, "=")
		if secretOption.MatchString(name) || urlPassword.MatchString(value) {
			dropped = true
			continue
		}
		kept = append(kept, o)
	}
	return kept, dropped
}
