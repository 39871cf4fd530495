package config

import (
	"fmt"
	"log/slog"
)

// Secret is a text that no way of printing shows. Reveal returns it, for the one place that needs it.
type Secret struct {
	// A pointer, since printing a struct with a Secret in an unexported field calls no method of it.
	text *string
}

// hidden is what is shown instead.
const hidden = "[hidden]"

// NewSecret returns text as a Secret.
func NewSecret(text string) Secret { return Secret{&text} }

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// String returns "[hidden]", or "" for an empty secret.
func (s Secret) String() string {
	if s.Reveal() == "" {
		return ""
	}
	return hidden
}

// Format is String, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue is String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String; encoders for JSON and YAML use it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
