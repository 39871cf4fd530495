// Package telemetry says what a process does: its log, and metrics by OpenTelemetry that Prometheus can scrape.
package telemetry

import (
	"log/slog"
	"os"

	"github.com/smartdr/smartdr/internal/fault"
)

// Logger returns a logger that writes to standard error in one of the formats "text" and "json", from a level on:
// "debug", "info", "warn" or "error".
func Logger(level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fault.Newf(fault.Invalid, "set up the log", "%q is not a level", level).WithHint("one of debug, info, warn, error")
	}
	options := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, options)), nil
	}
	return nil, fault.Newf(fault.Invalid, "set up the log", "%q is not a format", format).WithHint("one of text, json")
}
