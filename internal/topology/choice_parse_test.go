package topology

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

func TestParseChoice(t *testing.T) {
	one, two := []string{"main"}, []string{"main", "side"}
	at := time.Date(2026, 11, 23, 9, 0, 0, 500_000_000, time.UTC)
	for text, c := range map[string]struct {
		of   []string
		want Choice
		says string
	}{
		"":                              {one, Choice{}, ""},
		" latest ":                      {two, Choice{}, ""},
		"2026-11-23T10:00:00.5+01:00":   {two, Choice{Time: at}, ""},
		"2026-11-23 09:00:00.5+00":      {two, Choice{Time: at}, ""},
		"2026-11-23 09:00:00.5 UTC":     {two, Choice{Time: at}, ""},
		"2026-11-23T10:00:00":           {two, Choice{}, "of which time zone"},
		"2026-11-23 10:00":              {two, Choice{}, "of which time zone"},
		"0/3000148":                     {one, Choice{LSNs: map[string]wal.LSN{"main": 0x3000148}}, ""},
		"main=0/3000148, side=1/0":      {two, Choice{LSNs: map[string]wal.LSN{"main": 0x3000148, "side": 1 << 32}}, ""},
		"1/0":                           {two, Choice{}, "could be of any of the workspaces main, side"},
		"side=1/0":                      {one, Choice{}, `no workspace "side"`},
		"main=1/0,main=2/0":             {one, Choice{}, "two points"},
		"main=":                         {one, Choice{}, "no workspace with an LSN"},
		"main=0/0":                      {one, Choice{}, "0/0"},
		"2026-11-23":                    {one, Choice{}, "no point in time and no LSN"},
		"0/3000148 and what comes next": {one, Choice{}, "no point in time and no LSN"},
	} {
		got, err := ParseChoice(text, c.of)
		if c.says != "" {
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.says) || fault.HintOf(err) == "" {
				t.Errorf("%q: %v, want it to say %q", text, err, c.says)
			}
			continue
		}
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%q: %v %s", text, err, diff)
		}
	}
}

func TestAChoiceIsReadAsItIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c Choice
		names := []string{"a", "b", "c"}
		for _, n := range names {
			if l := rapid.Uint64().Draw(t, n); l%3 > 0 {
				if c.LSNs == nil {
					c.LSNs = map[string]wal.LSN{}
				}
				c.LSNs[n] = wal.LSN(l)
			}
		}
		if len(c.LSNs) == 0 {
			c.Time = time.Unix(0, rapid.Int64Range(1, 1<<62).Draw(t, "time")).UTC()
		}
		got, err := ParseChoice(c.String(), names)
		if diff := cmp.Diff(c, got); err != nil || diff != "" {
			t.Fatalf("%s: %v %s", c, err, diff)
		}
	})
}

func TestLossLimit(t *testing.T) {
	loss := Loss{Seconds: 2, Bytes: 1 << 20}
	silent := loss
	silent.AtLeast = true
	for text, c := range map[string]struct {
		loss *Loss
		want bool
	}{
		"2s": {&loss, true}, "1.9s": {&loss, false}, "1MB": {&loss, true}, "1023kB": {&loss, false}, "0": {&loss, false},
		"0 ": {&Loss{}, true}, "5m": {&silent, false}, "1h": {nil, false}, "1GB": {&silent, false}, "1048576B": {&loss, true},
	} {
		l, err := ParseLossLimit(text)
		if err != nil || l.Allows(c.loss) != c.want {
			t.Errorf("%s allows %+v: %v, want %v (%v)", text, c.loss, !c.want, c.want, err)
		}
	}
	for _, text := range []string{"-1s", "16", "MB", "1XB", "1e400GB", "a day", "-5MB"} {
		if l, err := ParseLossLimit(text); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
			t.Errorf("%q was read as %+v, %v", text, l, err)
		}
	}
	if l, err := ParseLossLimit(" "); l != nil || err != nil {
		t.Errorf("nothing was read as %+v, %v", l, err)
	}
}
