package metadata

import "strings"

// accessField is one field of a line of pg_hba.conf or pg_ident.conf: tokens with commas between them.
type accessField []accessToken

type accessToken struct {
	text   string
	quoted bool // began with a quote: no keyword, no file to include
}

// accessFields takes a line apart as the server does (next_field_expand and next_token in src/backend/libpq/hba.c): a blank
// after a comma does not end a field, and what follows a # outside of quotes is a comment.
func accessFields(line string) (fields []accessField) {
	var field accessField
	for {
		token, comma, rest, ok := nextAccessToken(line)
		if ok {
			field = append(field, token)
		}
		if !comma && field != nil {
			fields, field = append(fields, field), nil
		}
		if !ok {
			return fields
		}
		line = rest
	}
}

// nextAccessToken returns a token, whether a comma ended it, and what is left; false for no more.
func nextAccessToken(s string) (token accessToken, comma bool, rest string, ok bool) {
	const blank = " \t\r"
	s = strings.TrimLeft(s, blank+",")
	var b strings.Builder
	var within, closed bool // quotes; a quote right before
	i := 0
	for ; i < len(s); i++ {
		c := s[i]
		if !within && (c == '#' || c == ',' || strings.IndexByte(blank, c) >= 0) {
			break
		}
		if c != '"' || closed {
			b.WriteByte(c)
		}
		closed = within && c == '"' && !closed
		if c == '"' {
			within = !within
			token.quoted = token.quoted || b.Len() == 0
		}
	}
	token.text = b.String()
	if i == len(s) || s[i] == '#' {
		return token, false, "", i > 0
	}
	return token, s[i] == ',', s[i+1:], true
}

// texts returns a field's tokens as pg_hba_file_rules shows them.
func (f accessField) texts() (all []string) {
	for _, t := range f {
		all = append(all, t.text)
	}
	return all
}

// format writes a field again: a name in quotes stays in quotes, since it may be no keyword.
func (f accessField) format() string {
	out := make([]string, len(f))
	for i, t := range f {
		if out[i] = token(t.text); t.quoted && out[i] == t.text {
			out[i] = `"` + t.text + `"`
		}
	}
	return strings.Join(out, ",")
}
