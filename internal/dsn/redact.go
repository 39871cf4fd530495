package dsn

import "regexp"

// The three places where a connection string can hold a password: a URL's user part (up to the last @ before the
// path, since passwords with an unescaped @ are common mistakes), a URL's query, and a keyword (quoted or not).
var (
	inUserinfo = regexp.MustCompile(`(?i)(postgres(?:ql)?://[^:/?#@\s]*):[^/?#\s]*@`)
	inQuery    = regexp.MustCompile(`(?i)([?&](?:ssl)?password=)[^&\s]*`)
	inKeyword  = regexp.MustCompile(`(?i)(\b(?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'?|(?:\\.|[^\s'&])+)`)
)

// Redact returns s with every password of a connection string replaced by "xxxxx". s may be a connection
// string or a text that quotes one.
func Redact(s string) string {
	s = inUserinfo.ReplaceAllString(s, "$1:xxxxx@")
	s = inQuery.ReplaceAllString(s, "${1}xxxxx")
	return inKeyword.ReplaceAllString(s, "${1}xxxxx")
}
