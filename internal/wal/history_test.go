package wal

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseHistory(t *testing.T) {
	in := "1\t0/9000060\tno recovery target specified\n\n# a comment\n10\t0/B000000\tbefore 2026-11-22\twith a tab\n16\t1/0\t\n"
	want := History{{1, 0x9000060, "no recovery target specified"}, {10, 0xB000000, "before 2026-11-22\twith a tab"}, {16, 1 << 32, ""}}
	got, err := ParseHistory([]byte(in))
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v\n%s", err, d)
	}
	again, err := ParseHistory(got.Format())
	if d := cmp.Diff(want, again); err != nil || d != "" {
		t.Errorf("written and read again: %v\n%s", err, d)
	}
}

func TestParseHistoryRefuses(t *testing.T) {
	for _, in := range []string{"1", "1 0/9000060", "0\t0/1\t", "x\t0/1\t", "0A\t0/1\t", "1\t0/G\t", "2\t0/2\t\n1\t0/3\t", "1\t0/3\t\n2\t0/2\t", "1\t0/1\t\n1\t0/2\t"} {
		if h, err := ParseHistory([]byte(in)); err == nil {
			t.Errorf("%q is %v", in, h)
		}
	}
}

func TestTimelineAt(t *testing.T) {
	h := History{{1, 100, ""}, {0x0A, 200, ""}}
	for l, want := range map[LSN]Timeline{0: 1, 99: 1, 100: 0x0A, 199: 0x0A, 200: 0x10, 5000: 0x10} {
		if got := h.TimelineAt(l, 0x10); got != want {
			t.Errorf("at %d: %d, want %d", l, got, want)
		}
	}
	if end, ok := h.EndOf(0x0A); end != 200 || !ok {
		t.Errorf("timeline 10 ends at %s, %t", end, ok)
	}
	if _, ok := h.EndOf(0x10); ok {
		t.Error("timeline 16 has an end")
	}
}

func FuzzParseHistory(f *testing.F) {
	f.Add([]byte("1\t0/9000060\tno recovery target specified\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHistory(b)
		if err != nil {
			return
		}
		if again, err := ParseHistory(h.Format()); err != nil || !cmp.Equal(h, again) {
			t.Errorf("%v became %v, %v", h, again, err)
		}
	})
}
