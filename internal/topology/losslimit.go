package topology

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
)

// LossLimit is the most that somebody accepts to lose of a workspace: a time, or an amount of WAL.
type LossLimit struct {
	Seconds float64 `json:"seconds"`
	Bytes   int64   `json:"bytes"`
	InBytes bool    `json:"inBytes,omitempty"` // Bytes counts, else Seconds
}

// ParseLossLimit reads a limit: "30s" or another duration, "16MB", or "0". An empty text is none: nil. Errors are
// fault.Invalid.
func ParseLossLimit(text string) (*LossLimit, error) {
	text = strings.TrimSpace(text)
	switch text {
	case "":
		return nil, nil
	case "0":
		return &LossLimit{InBytes: true}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return &LossLimit{Seconds: d.Seconds()}, nil
	}
	if n, ok := parseAmount(text); ok {
		return &LossLimit{Bytes: n, InBytes: true}, nil
	}
	return nil, fault.Newf(fault.Invalid, "read limit of loss", "%q is neither a time nor an amount of WAL", text).
		WithHint(`Give a time as "30s" or "5m", an amount as "16MB", or "0" for no loss at all.`)
}

// amounts are the units that PostgreSQL writes sizes in.
var amounts = map[string]float64{"B": 1, "kB": 1 << 10, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}

func parseAmount(text string) (int64, bool) {
	at := strings.IndexFunc(text, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if at <= 0 {
		return 0, false
	}
	n, err := strconv.ParseFloat(text[:at], 64)
	unit, known := amounts[strings.TrimSpace(text[at:])]
	if n *= unit; err != nil || !known || n > math.MaxInt64/2 {
		return 0, false
	}
	return int64(n), true
}

func (l LossLimit) String() string {
	switch {
	case l.InBytes && l.Bytes == 0:
		return "no loss at all"
	case l.InBytes:
		return fmt.Sprintf("%d bytes of WAL", l.Bytes)
	}
	return time.Duration(l.Seconds * float64(time.Second)).String()
}

// Allows reports whether a loss is known to be within the limit. A nil loss is not known, and one that may be larger than it says
// is not known to be small.
func (l LossLimit) Allows(loss *Loss) bool {
	switch {
	case loss == nil || loss.AtLeast:
		return false
	case l.InBytes:
		return loss.Bytes <= l.Bytes
	}
	return loss.Seconds <= l.Seconds
}
