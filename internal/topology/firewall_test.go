package topology

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/smartdr/smartdr/internal/fault"
)

func TestNewFirewall(t *testing.T) {
	f, err := NewFirewall([]string{"2001:DB8::/32", "192.168.0.0/16", "10.0.0.0/8", "10.1.2.3", "10.0.0.0/8", "::1"}, false)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"10.0.0.0/8", "10.1.2.3/32", "192.168.0.0/16", "::1/128", "2001:db8::/32"}
	if diff := cmp.Diff(want, f.Ranges); diff != "" {
		t.Error(diff)
	}
	if none, err := NewFirewall(nil, false); err != nil || none.IsZero() {
		t.Errorf("no ranges at all: %+v, %v", none, err)
	}
	if zero, err := (Firewall{}).Canonical(); err != nil || !zero.IsZero() {
		t.Errorf("nothing said: %+v, %v", zero, err)
	}
}

func TestBadRanges(t *testing.T) {
	for s, says := range map[string]string{
		"": "no range", "10.0.0.0/33": "no range", "10.0.0/8": "no range", "example.com": "no range", "10.0.0.0/8 ": "no range", "10.0.0.0/": "no range",
		"10.0.0.5/8": "10.0.0.0/8", "2001:db8::1/32": "2001:db8::/32", "fe80::1%eth0": "interface", "fe80::%eth0/64": "no range",
		"::ffff:10.0.0.0/104": "IPv4", "010.0.0.1": "no range", "all": "no range",
	} {
		_, err := NewFirewall([]string{"127.0.0.0/8", s}, false)
		if !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" || !strings.Contains(err.Error()+fault.HintOf(err), says) {
			t.Errorf("%q: %v (%s)", s, err, fault.HintOf(err))
		}
	}
}

func TestComplement(t *testing.T) {
	for name, c := range map[string]struct {
		f    Firewall
		want []string
	}{
		"nothing said":  {Firewall{}, nil},
		"everybody":     {Firewall{Ranges: []string{"10.0.0.0/8"}, AllowAll: true}, nil},
		"nobody":        {Firewall{Ranges: []string{}}, []string{"0.0.0.0/0", "::/0"}},
		"all of IPv4":   {Firewall{Ranges: []string{"0.0.0.0/0"}}, []string{"::/0"}},
		"in two halves": {Firewall{Ranges: []string{"0.0.0.0/1", "128.0.0.0/1", "::/0"}}, nil},
		"a corner":      {Firewall{Ranges: []string{"192.0.0.0/2", "::/0"}}, []string{"0.0.0.0/1", "128.0.0.0/2"}},
		"one in a byte": {Firewall{Ranges: []string{"255.255.255.252/30", "0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3", "224.0.0.0/4",
			"240.0.0.0/5", "248.0.0.0/6", "252.0.0.0/7", "254.0.0.0/8", "::/0"}},
			[]string{"255.0.0.0/9", "255.128.0.0/10", "255.192.0.0/11", "255.224.0.0/12", "255.240.0.0/13", "255.248.0.0/14", "255.252.0.0/15", "255.254.0.0/16",
				"255.255.0.0/17", "255.255.128.0/18", "255.255.192.0/19", "255.255.224.0/20", "255.255.240.0/21", "255.255.248.0/22", "255.255.252.0/23",
				"255.255.254.0/24", "255.255.255.0/25", "255.255.255.128/26", "255.255.255.192/27", "255.255.255.224/28", "255.255.255.240/29", "255.255.255.248/30"}},
	} {
		got, err := c.f.Complement()
		var text []string
		for _, p := range got {
			text = append(text, p.String())
		}
		if diff := cmp.Diff(c.want, text); diff != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
	if _, err := (Firewall{Ranges: []string{"x"}}).Complement(); !fault.Is(err, fault.Invalid) {
		t.Errorf("a range that cannot be read: %v", err)
	}
	if (Firewall{Ranges: []string{"x"}}).Contains(netip.MustParseAddr("10.0.0.1")) {
		t.Error("a range that cannot be read lets somebody in")
	}
}

// drawPrefixes draws ranges that often touch, overlap or hold each other.
func drawPrefixes(t *rapid.T) []netip.Prefix {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) netip.Prefix {
		addr := drawAddr(t)
		return netip.PrefixFrom(addr, rapid.IntRange(0, addr.BitLen()).Draw(t, "bits")).Masked()
	}), 0, 8).Draw(t, "ranges")
}

func drawAddr(t *rapid.T) netip.Addr {
	n := 4
	if rapid.Bool().Draw(t, "v6") {
		n = 16
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = rapid.SampledFrom([]byte{0, 0, 255, 128, 1, 127, 10}).Draw(t, "byte")
	}
	a, _ := netip.AddrFromSlice(b)
	if a.Is4In6() {
		return netip.IPv6Loopback()
	}
	return a
}

func count(prefixes []netip.Prefix, a netip.Addr) (n int) {
	for _, p := range prefixes {
		if p.Contains(a) {
			n++
		}
	}
	return n
}

func TestAddressIsInsideOrInExactlyOneRangeOutside(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ranges := drawPrefixes(t)
		f := Firewall{Ranges: []string{}}
		for _, r := range ranges {
			f.Ranges = append(f.Ranges, r.String())
		}
		complement, err := f.Complement()
		if err != nil {
			t.Fatal(err)
		}
		probes := []netip.Addr{drawAddr(t)}
		for _, p := range slices.Concat(ranges, complement) { // the edges of everything
			probes = append(probes, p.Addr(), p.Addr().Prev())
		}
		for _, a := range probes {
			if !a.IsValid() {
				continue
			}
			inside, out := count(ranges, a) > 0, count(complement, a)
			if inside == (out > 0) || out > 1 || f.Contains(a) != inside {
				t.Fatalf("%s of %v: inside %v (%v), in %d ranges of %v", a, ranges, inside, f.Contains(a), out, complement)
			}
		}
		checkFewest(t, complement)
	})
}

// checkFewest: disjoint ranges are as few as there can be where no two are halves of one.
func checkFewest(t *rapid.T, ranges []netip.Prefix) {
	for i, p := range ranges {
		for _, q := range ranges[i+1:] {
			if p.Overlaps(q) || p.Bits() == q.Bits() && p.Bits() > 0 && netip.PrefixFrom(p.Addr(), p.Bits()-1).Contains(q.Addr()) && p.Addr().Is4() == q.Addr().Is4() {
				t.Fatalf("%s and %s of %v could be one", p, q, ranges)
			}
		}
	}
}
