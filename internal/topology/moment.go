package topology

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
)

// momentLayouts are how a moment may be written: RFC 3339, as `smartdr` prints it, and as psql does.
var momentLayouts = []string{time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 UTC", "2006-01-02 15:04:05-07"}

// ParseMoment reads a moment that a person names, with fractions of a second or without. One that does not say of which time zone it is is
// refused, since hours would be lost by guessing. Errors are fault.Invalid.
func ParseMoment(text string) (time.Time, error) {
	text = strings.TrimSpace(text)
	for _, layout := range momentLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	if iso, ok := withoutZone(text); ok {
		return time.Time{}, fault.Newf(fault.Invalid, opMoment, "%q does not say of which time zone it is", text).
			WithHint(`As "%[1]sZ" it is UTC, which all times are in here; as "%[1]s+02:00" two hours ahead of it.`, iso)
	}
	return time.Time{}, fault.Newf(fault.Invalid, opMoment, "%q is no moment", text).WithHint(`Give it as "2026-11-23T10:00:00Z".`)
}

// ParseMomentOf is ParseMoment of what a flag says, which the error names, beside op. An empty text is the zero time.
func ParseMomentOf(op, flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := ParseMoment(text)
	if err != nil {
		return t, fault.New(fault.Invalid, op, fmt.Errorf("--%s: %w", flag, errors.Unwrap(err))).WithHint("%s", fault.HintOf(err))
	}
	return t, nil
}

const opMoment = "read moment"

// withoutZone returns a moment that lacks nothing but its time zone, as RFC 3339 has it.
func withoutZone(text string) (string, bool) {
	iso := strings.Replace(text, " ", "T", 1)
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if t, err := time.Parse(layout, iso); err == nil {
			return t.Format("2006-01-02T15:04:05.999999999"), true
		}
	}
	return "", false
}
