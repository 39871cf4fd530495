package render

import (
	"slices"
	"strings"

	"github.com/mattn/go-runewidth"
)

// Wrap breaks paragraphs into lines of at most width columns. One with an indented line in it is a list or a command, and left as it is.
func Wrap(text string, width int) string {
	paragraphs := strings.Split(text, "\n\n")
	for i, p := range paragraphs {
		if !slices.ContainsFunc(strings.Split(p, "\n"), func(line string) bool { return strings.HasPrefix(line, " ") }) {
			paragraphs[i] = wrapped(strings.Fields(p), width)
		}
	}
	return strings.Join(paragraphs, "\n\n")
}

func wrapped(words []string, width int) string {
	var b strings.Builder
	column := 0
	for _, w := range words {
		n := runewidth.StringWidth(w)
		switch {
		case column == 0:
		case column+1+n > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(w)
		column += n
	}
	return b.String()
}
