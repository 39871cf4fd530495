// Package wal holds PostgreSQL's write-ahead log positions as plain values: LSNs, timelines, ranges, segment file
// names, timeline histories, and a scanner that finds record boundaries in a stream of WAL bytes.
// The manual's chapter "Write-Ahead Logging, WAL Internals" and src/include/access/xlog_internal.h define the formats.
package wal

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// LSN is a byte position in the write-ahead log.
type LSN uint64

// ParseLSN reads PostgreSQL's notation, two hexadecimal numbers of at most 8 digits around a slash, as "16/B374D848".
func ParseLSN(s string) (LSN, error) {
	hi, lo, ok := strings.Cut(s, "/")
	if !ok {
		return 0, fmt.Errorf("LSN %q: want two hexadecimal numbers around a slash, as 16/B374D848", s)
	}
	h, err := parseHex(hi, 1, 8)
	if err != nil {
		return 0, fmt.Errorf("LSN %q: %w", s, err)
	}
	l, err := parseHex(lo, 1, 8)
	if err != nil {
		return 0, fmt.Errorf("LSN %q: %w", s, err)
	}
	return LSN(h<<32 | l), nil
}

// String returns PostgreSQL's notation.
func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l)) }

// Key returns 16 upper-case hexadecimal digits, so that keys sort as positions do.
func (l LSN) Key() string { return fmt.Sprintf("%016X", uint64(l)) }

// ParseLSNKey reads what Key wrote.
func ParseLSNKey(s string) (LSN, error) {
	v, err := parseHex(s, 16, 16)
	if err != nil {
		return 0, fmt.Errorf("LSN key %q: %w", s, err)
	}
	return LSN(v), nil
}

// MarshalText writes PostgreSQL's notation, so that LSNs are readable in JSON.
func (l LSN) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads PostgreSQL's notation.
func (l *LSN) UnmarshalText(b []byte) (err error) {
	*l, err = ParseLSN(string(b))
	return err
}

// Timeline is a PostgreSQL timeline ID. A number alone is not unique: two servers may both go to timeline 2.
type Timeline uint32

// Key returns 8 upper-case hexadecimal digits, as in WAL file names.
func (t Timeline) Key() string { return fmt.Sprintf("%08X", uint32(t)) }

// ParseTimelineKey reads what Key wrote.
func ParseTimelineKey(s string) (Timeline, error) {
	v, err := parseHex(s, 8, 8)
	if err != nil || v == 0 {
		return 0, fmt.Errorf("timeline key %q: want 8 upper-case hexadecimal digits above zero", s)
	}
	return Timeline(v), nil
}

// Position is a place in one server's history.
type Position struct {
	Timeline Timeline `json:"timeline"`
	LSN      LSN      `json:"lsn"`
}

// Compare orders the positions of one server's history: a newer timeline is further, wherever it begins.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Timeline, q.Timeline), cmp.Compare(p.LSN, q.LSN))
}

func (p Position) String() string { return fmt.Sprintf("%s (timeline %d)", p.LSN, p.Timeline) }

// Range is the half-open range of bytes [Start, End).
type Range struct {
	Start LSN `json:"start"`
	End   LSN `json:"end"`
}

// Len returns the number of bytes in r.
func (r Range) Len() int64 { return int64(r.End - r.Start) }

func (r Range) String() string { return r.Start.String() + "-" + r.End.String() }

// Contains reports whether the byte at l lies in r.
func (r Range) Contains(l LSN) bool { return r.Start <= l && l < r.End }

// parseHex is strict where strconv is not: no sign, no underscore, upper or lower case digits only.
func parseHex(s string, minDigits, maxDigits int) (uint64, error) {
	if len(s) < minDigits || len(s) > maxDigits {
		return 0, fmt.Errorf("%q is not a hexadecimal number of %d to %d digits", s, minDigits, maxDigits)
	}
	for _, c := range s {
		if !strings.ContainsRune("0123456789abcdefABCDEF", c) {
			return 0, fmt.Errorf("%q is not a hexadecimal number", s)
		}
	}
	return strconv.ParseUint(s, 16, 64)
}
