// Package render turns the API's values into text for a terminal or a pipe. It is pure: the same values, moment and
// style give the same text.
package render

import (
	"strings"

	"github.com/mattn/go-runewidth"
)

// Style says what the output can show.
type Style struct {
	Colour bool // ANSI colours
	Bars   bool // progress bars; without them percentages alone
}

type colour string

const (
	none   colour = ""
	green  colour = "\x1b[32m"
	yellow colour = "\x1b[33m"
	red    colour = "\x1b[31m"
	dim    colour = "\x1b[2m"
	bold   colour = "\x1b[1m"
	reset         = "\x1b[0m"
)

func (s Style) paint(c colour, text string) string {
	if !s.Colour || c == none || text == "" {
		return text
	}
	return string(c) + text + reset
}

// cell is one field of a table; its colour does not count for the width.
type cell struct {
	text   string
	colour colour
}

func plain(text string) cell            { return cell{text: text} }
func tinted(c colour, text string) cell { return cell{text: text, colour: c} }
func row(texts ...string) (cells []cell) {
	for _, t := range texts {
		cells = append(cells, plain(t))
	}
	return cells
}

// table lines rows up under a header. The last column is not padded, so that no line ends in spaces.
func (s Style) table(header []string, rows [][]cell) string {
	head := make([]cell, len(header))
	for i, h := range header {
		head[i] = tinted(dim, h)
	}
	all := append([][]cell{head}, rows...)
	widths := columnWidths(all)
	var b strings.Builder
	for _, r := range all {
		b.WriteString(s.line(r, widths) + "\n")
	}
	return b.String()
}

func columnWidths(rows [][]cell) []int {
	var widths []int
	for _, r := range rows {
		for i, c := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], runewidth.StringWidth(c.text))
		}
	}
	return widths
}

func (s Style) line(cells []cell, widths []int) string {
	for len(cells) > 0 && cells[len(cells)-1].text == "" {
		cells = cells[:len(cells)-1]
	}
	var b strings.Builder
	for i, c := range cells {
		b.WriteString(s.paint(c.colour, c.text))
		if i < len(cells)-1 {
			b.WriteString(strings.Repeat(" ", widths[i]-runewidth.StringWidth(c.text)+2))
		}
	}
	return b.String()
}
