package postgres

import (
	"bytes"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// LogLine is one line of a server's log.
type LogLine struct {
	Severity string // LOG, WARNING, FATAL, DETAIL, ...; empty for what did not come from PostgreSQL itself
	Text     string
	PID      int // of the process that logged it; 0 where that is not known
}

// logPrefix is log_line_prefix "%m [%p] " and the severity.
var logPrefix = regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \S+ \[(\d+)\] ([A-Z]+\d?):  (.*)$`)

// started is the first line that a server logs once it can.
const started = "starting PostgreSQL "

// Log returns what the server has logged since it was started last. Lines that continue a message (with a tab) are
// joined to it.
func (s *Server) Log() []LogLine {
	b, err := os.ReadFile(s.LogFile)
	if err != nil {
		return nil
	}
	if s.child != nil && s.child.logged <= int64(len(b)) {
		b = b[s.child.logged:]
	}
	return parseLog(b)
}

func parseLog(b []byte) []LogLine {
	var lines []LogLine
	for raw := range bytes.Lines(b) {
		text := strings.TrimRight(string(raw), "\n")
		if more, ok := strings.CutPrefix(text, "\t"); ok && len(lines) > 0 {
			lines[len(lines)-1].Text += " " + more
			continue
		}
		l := LogLine{Text: text}
		if m := logPrefix.FindStringSubmatch(text); m != nil {
			pid, _ := strconv.Atoi(m[1]) // digits, and too many of them are no process's
			l = LogLine{Severity: m[2], Text: m[3], PID: pid}
		}
		if strings.HasPrefix(l.Text, started) {
			lines = lines[:0]
		}
		lines = append(lines, l)
	}
	return lines
}

// WholeLog returns all that LogFile holds, of earlier runs too.
func (s *Server) WholeLog() []LogLine {
	var all []LogLine
	b, err := os.ReadFile(s.LogFile)
	if err != nil {
		return nil
	}
	for _, run := range bytes.SplitAfter(b, []byte(started)) {
		all = append(all, parseLog(run)...)
	}
	return all
}
