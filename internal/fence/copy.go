package fence

import (
	"encoding/json"
	"slices"
	"strings"
)

// Without returns a copy's postgresql.auto.conf as it was before a fence: a base backup that runs while its server is fenced takes the
// fence's settings along. A text without a fence stays as it is.
func Without(auto string) string {
	lines := slices.Collect(strings.Lines(auto))
	m, fenced := markIn(lines)
	if !fenced {
		return auto
	}
	lines = slices.DeleteFunc(lines, func(line string) bool { name, _ := autoLine(line); return name == markSetting })
	for _, s := range settings(true) {
		before, known := m.Before[s.name]
		if !known { // of a server that was down: what it had stands above the fence's line
			lines = withoutLast(lines, s)
			continue
		}
		lines = slices.DeleteFunc(lines, func(line string) bool { name, _ := autoLine(line); return name == s.name })
		if before != nil {
			lines = append(lines, s.name+" = '"+autoEscape.Replace(*before)+"'\n")
		}
	}
	return strings.Join(lines, "")
}

// markIn returns the last mark. A damaged one says nothing of what was there before.
func markIn(lines []string) (m mark, there bool) {
	for _, line := range slices.Backward(lines) {
		if name, value := autoLine(line); name == markSetting {
			_ = json.Unmarshal([]byte(value), &m) // see above
			return m, value != ""
		}
	}
	return m, false
}

// withoutLast takes away the last line of a setting if it has the fence's value.
func withoutLast(lines []string, s setting) []string {
	for i, line := range slices.Backward(lines) {
		if name, value := autoLine(line); name == s.name {
			if value == s.value {
				return slices.Delete(lines, i, i+1)
			}
			break
		}
	}
	return lines
}

// autoEscape writes a value as ALTER SYSTEM does (src/port/quotes.c, escape_single_quotes_ascii).
var autoEscape, autoUnescape = strings.NewReplacer(`\`, `\\`, `'`, `''`), strings.NewReplacer(`\\`, `\`, `''`, `'`)

// autoLine reads a line as ALTER SYSTEM writes it (src/backend/utils/misc/guc.c, write_auto_conf_file).
func autoLine(line string) (name, value string) {
	name, value, set := strings.Cut(strings.TrimRight(line, "\n"), " = '")
	value, closed := strings.CutSuffix(value, "'")
	if !set || !closed || strings.HasPrefix(name, "#") {
		return "", ""
	}
	return strings.ToLower(name), autoUnescape.Replace(value)
}
