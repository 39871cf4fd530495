package wal

import (
	"testing"

	"pgregory.net/rapid"
)

func TestParseLSN(t *testing.T) {
	for _, c := range []struct {
		in   string
		want LSN
		ok   bool
	}{
		{"0/0", 0, true},
		{"16/B374D848", 0x16B374D848, true},
		{"16/b374d848", 0x16B374D848, true},
		{"FFFFFFFF/FFFFFFFF", 1<<64 - 1, true},
		{"0/A", 10, true},
		{"", 0, false},
		{"16", 0, false},
		{"16/", 0, false},
		{"/16", 0, false},
		{"16/B374D848 ", 0, false},
		{"16/B374D848/0", 0, false},
		{"1_6/0", 0, false},
		{"+1/0", 0, false},
		{"0x1/0", 0, false},
		{"123456789/0", 0, false},
		{"0/123456789", 0, false},
		{"G/0", 0, false},
	} {
		got, err := ParseLSN(c.in)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("ParseLSN(%q) = %s, %v", c.in, got, err)
		}
	}
}

func TestLSNRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := LSN(rapid.Uint64().Draw(t, "lsn"))
		if got, err := ParseLSN(l.String()); got != l || err != nil {
			t.Errorf("%s became %s, %v", l, got, err)
		}
		if got, err := ParseLSNKey(l.Key()); got != l || err != nil {
			t.Errorf("key %s became %s, %v", l.Key(), got, err)
		}
		m := LSN(rapid.Uint64().Draw(t, "other"))
		if (l < m) != (l.Key() < m.Key()) {
			t.Errorf("keys %s and %s sort otherwise than the positions", l.Key(), m.Key())
		}
	})
}

func FuzzParseLSN(f *testing.F) {
	f.Add("16/B374D848")
	f.Add("0/")
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLSN(s)
		if err != nil {
			return
		}
		if again, err := ParseLSN(l.String()); err != nil || again != l {
			t.Errorf("%q is %s, which is %s, %v", s, l, again, err)
		}
	})
}

// Timelines 10, 16 and 255 tell hexadecimal from decimal; sizes other than 16 MiB tell a
// constant in the code (1.17).
func TestFileName(t *testing.T) {
	for _, c := range []struct {
		size SegmentSize
		t    Timeline
		l    LSN
		want string
	}{
		{16 << 20, 1, 0x1000000, "000000010000000000000001"},
		{16 << 20, 0x0A, 0x16B374D848, "0000000A00000016000000B3"},
		{16 << 20, 0x10, 0xFFFFFFFF, "0000001000000000000000FF"},
		{16 << 20, 0xFF, 0x100000000, "000000FF0000000100000000"},
		{1 << 20, 1, 0x16B374D848, "000000010000001600000B37"},
		{64 << 20, 2, 0xFFFFFFFF, "00000002000000000000003F"},
		{1 << 30, 2, 0x1C0000000, "000000020000000100000003"},
	} {
		if got := c.size.FileName(c.t, c.l); got != c.want {
			t.Errorf("%d, %d, %s: %s, want %s", c.size, c.t, c.l, got, c.want)
		}
	}
}

func TestParseTimelineKey(t *testing.T) {
	for in, want := range map[string]Timeline{"00000001": 1, "0000000A": 10, "00000010": 16, "000000FF": 255} {
		if got, err := ParseTimelineKey(in); got != want || err != nil || got.Key() != in {
			t.Errorf("%s is %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "1", "00000000", "0000000G", "000000010", " 0000001"} {
		if got, err := ParseTimelineKey(in); err == nil {
			t.Errorf("%q is %d", in, got)
		}
	}
}
