package dsn

import (
	"net/url"
	"slices"
	"strings"
)

// tlsKeys are the parameters that say how a connection is protected. Those that name files are left out, since a client's
// files are elsewhere; sslrootcert may also be the word "system".
var tlsKeys = []string{"sslmode", "sslnegotiation", "sslrootcert", "channel_binding", "require_auth"}

// Protection returns what a connection string says of how connections are protected, by libpq's names. A string that
// cannot be read says nothing.
func Protection(connString string) map[string]string {
	all := params(connString)
	out := map[string]string{}
	for _, k := range tlsKeys {
		if v := all[k]; v != "" && (k != "sslrootcert" || v == "system") {
			out[k] = v
		}
	}
	return out
}

// fileKeys are the parameters that name files with certificates and keys.
var fileKeys = []string{"sslrootcert", "sslcert", "sslkey"}

// withoutFiles takes the names of certificates and keys out of a connection string whose form is right.
func withoutFiles(s string) string {
	if !isURI(s) {
		for _, k := range fileKeys {
			s += " " + k + "=''" // the last one counts
		}
		return s
	}
	address, query, _ := strings.Cut(s, "?")
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		if key, _, _ := strings.Cut(pair, "="); key != "" && !slices.Contains(fileKeys, key) {
			kept = append(kept, pair)
		}
	}
	for _, k := range fileKeys {
		kept = append(kept, k+"=") // and not what the environment says
	}
	return address + "?" + strings.Join(kept, "&")
}

func isURI(s string) bool {
	return strings.HasPrefix(s, "postgres://") || strings.HasPrefix(s, "postgresql://")
}

// params returns the parameters of a connection string in either form (the manual, "Connection Strings").
func params(s string) map[string]string {
	if isURI(s) {
		_, query, _ := strings.Cut(s, "?")
		values, err := url.ParseQuery(query)
		if err != nil {
			return nil
		}
		out := map[string]string{}
		for k := range values {
			out[k] = values.Get(k)
		}
		return out
	}
	return keywords(s)
}

// keywords reads key = value pairs, whose values may be quoted; a backslash escapes the next character.
func keywords(s string) map[string]string {
	out := map[string]string{}
	for {
		key, rest, ok := strings.Cut(s, "=")
		if !ok {
			return out
		}
		var value string
		value, s = firstValue(strings.TrimLeft(rest, " \t\n\r"))
		out[strings.TrimSpace(key)] = value
	}
}

// firstValue returns the value that s begins with, and what comes after it.
func firstValue(s string) (value, rest string) {
	quoted := strings.HasPrefix(s, "'")
	if quoted {
		s = s[1:]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case quoted && c == '\'', !quoted && strings.IndexByte(" \t\n\r", c) >= 0:
			return b.String(), s[i+1:]
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}
