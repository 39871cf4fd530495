package wal

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// History is the list of timelines a timeline came from, oldest first: what a .history file says
// (src/backend/access/transam/timeline.c). Timeline 1 has an empty history and no file.
type History []Switch

// Switch is the end of one timeline in a history.
type Switch struct {
	Timeline Timeline `json:"timeline"` // the timeline that ended here
	LSN      LSN      `json:"lsn"`      // the first byte that belongs to the next one
	Reason   string   `json:"reason,omitempty"`
}

// HistoryFileName returns the name in pg_wal of t's history file.
func HistoryFileName(t Timeline) string { return t.Key() + ".history" }

// ParseHistory reads a .history file. Timelines and switch points must increase.
func ParseHistory(b []byte) (History, error) {
	var h History
	sc := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s, err := parseSwitch(line)
		if err != nil {
			return nil, fmt.Errorf("timeline history, line %d: %w", n, err)
		}
		if k := len(h); k > 0 && (h[k-1].Timeline >= s.Timeline || h[k-1].LSN > s.LSN) {
			return nil, fmt.Errorf("timeline history, line %d: %d at %s does not follow %d at %s", n, s.Timeline, s.LSN, h[k-1].Timeline, h[k-1].LSN)
		}
		h = append(h, s)
	}
	return h, sc.Err()
}

func parseSwitch(line string) (Switch, error) {
	fields := strings.SplitN(line, "\t", 3)
	if len(fields) < 2 {
		return Switch{}, fmt.Errorf("%q: want a timeline, a tab and an LSN", line)
	}
	t, err := strconv.ParseUint(strings.TrimSpace(fields[0]), 10, 32)
	if err != nil || t == 0 {
		return Switch{}, fmt.Errorf("%q is not a timeline", fields[0])
	}
	l, err := ParseLSN(strings.TrimSpace(fields[1]))
	if err != nil {
		return Switch{}, err
	}
	s := Switch{Timeline: Timeline(t), LSN: l}
	if len(fields) == 3 {
		s.Reason = fields[2]
	}
	return s, nil
}

// Format writes h as a .history file.
func (h History) Format() []byte {
	var b bytes.Buffer
	for _, s := range h {
		fmt.Fprintf(&b, "%d\t%s\t%s\n", s.Timeline, s.LSN, s.Reason)
	}
	return b.Bytes()
}

// TimelineAt returns the timeline that the byte at l belongs to, for a server on timeline current with history h.
func (h History) TimelineAt(l LSN, current Timeline) Timeline {
	for _, s := range h {
		if l < s.LSN {
			return s.Timeline
		}
	}
	return current
}

// EndOf returns where t ended in h, and false when t is not among h's timelines.
func (h History) EndOf(t Timeline) (LSN, bool) {
	for _, s := range h {
		if s.Timeline == t {
			return s.LSN, true
		}
	}
	return 0, false
}

// LeftFor returns the timeline that h went to at a fork, and false when it did not leave there. newest is the timeline whose
// history h is.
func (h History) LeftFor(fork Position, newest Timeline) (Timeline, bool) {
	for i, s := range h {
		if s.Timeline != fork.Timeline || s.LSN != fork.LSN {
			continue
		}
		if i+1 < len(h) {
			return h[i+1].Timeline, true
		}
		return newest, true
	}
	return 0, false
}
