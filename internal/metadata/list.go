package metadata

import "strings"

// splitList takes a list setting apart (SplitDirectoriesString in src/backend/utils/adt/varlena.c): items between commas,
// with spaces around them dropped, quoted or not.
func splitList(value string) []string {
	var items []string
	for value = strings.TrimSpace(value); value != ""; value = strings.TrimSpace(value) {
		var item string
		item, value = nextItem(value)
		if item != "" {
			items = append(items, item)
		}
		value = strings.TrimPrefix(strings.TrimSpace(value), ",")
	}
	return items
}

func nextItem(s string) (item, rest string) {
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexByte(s, ',')
		if i < 0 {
			i = len(s)
		}
		return strings.TrimSpace(s[:i]), s[i:]
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '"' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 == len(s) || s[i+1] != '"' {
			return b.String(), s[i+1:]
		}
		b.WriteByte('"')
		i++
	}
	return b.String(), "" // a quote that is not closed
}

// joinList is the reverse of splitList.
func joinList(items []string) string {
	quoted := make([]string, len(items))
	for i, item := range items {
		quoted[i] = `"` + strings.ReplaceAll(item, `"`, `""`) + `"`
	}
	return strings.Join(quoted, ", ")
}
