package topology

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
)

// Firewall is who may reach the servers of a group that SmartDR runs.
type Firewall struct {
	Ranges   []string `json:"ranges"`             // CIDR, canonical, sorted; none lets nobody in by network
	AllowAll bool     `json:"allowAll,omitempty"` // everybody, whatever Ranges says: the workspace's own rules decide
}

// IsZero reports whether nothing was ever said: a group of adopted servers has no firewall unless somebody gives it one, and
// then the workspace's own rules decide alone.
func (f Firewall) IsZero() bool { return !f.AllowAll && f.Ranges == nil }

// NewFirewall writes ranges in their canonical form: sorted, IPv4 first, without duplicates; an address alone is a range of
// one. No ranges at all are none, not the zero Firewall. Errors are fault.Invalid and name the range.
func NewFirewall(ranges []string, allowAll bool) (Firewall, error) {
	prefixes, err := parseRanges(ranges)
	if err != nil {
		return Firewall{}, err
	}
	f := Firewall{Ranges: make([]string, len(prefixes)), AllowAll: allowAll}
	for i, p := range prefixes {
		f.Ranges[i] = p.String()
	}
	return f, nil
}

// Canonical returns f as NewFirewall would have made it; the zero Firewall stays as it is.
func (f Firewall) Canonical() (Firewall, error) {
	if f.Ranges == nil {
		return f, nil
	}
	return NewFirewall(f.Ranges, f.AllowAll)
}

// Prefixes returns the ranges, whether AllowAll holds or not. Errors are fault.Invalid and name the range.
func (f Firewall) Prefixes() ([]netip.Prefix, error) { return parseRanges(f.Ranges) }

func parseRanges(ranges []string) ([]netip.Prefix, error) {
	prefixes := make([]netip.Prefix, 0, len(ranges))
	for _, r := range ranges {
		p, err := ParseRange(r)
		if err != nil {
			return nil, err
		}
		prefixes = append(prefixes, p)
	}
	slices.SortFunc(prefixes, comparePrefixes)
	return slices.Compact(prefixes), nil
}

func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// ParseRange reads "10.0.0.0/8", "2001:db8::/32", or an address alone. Errors are fault.Invalid.
func ParseRange(s string) (netip.Prefix, error) {
	const shape = "Write a range as 10.0.0.0/8 or 2001:db8::/32."
	p, err := netip.ParsePrefix(s)
	if !strings.Contains(s, "/") {
		var addr netip.Addr
		if addr, err = netip.ParseAddr(s); err == nil {
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
	}
	switch {
	case err != nil:
		return netip.Prefix{}, badRange(s, "is no range of addresses").WithHint(shape)
	case strings.Contains(s, "%"):
		return netip.Prefix{}, badRange(s, "names a network interface, which has another name on another host").WithHint(shape)
	case p.Addr().Is4In6():
		return netip.Prefix{}, badRange(s, "writes IPv4 as IPv6, which no connection ever matches").WithHint("Write IPv4 addresses as they are: 10.0.0.0/8.")
	case p != p.Masked():
		return netip.Prefix{}, badRange(s, "has bits set after its first %d", p.Bits()).
			WithHint("Write %s for the whole range, or %s for that address alone.", p.Masked(), p.Addr())
	}
	return p, nil
}

func badRange(s, format string, args ...any) *fault.Error {
	return fault.Newf(fault.Invalid, "read firewall", "%q "+format, append([]any{s}, args...)...)
}

// Contains reports whether the firewall lets an address through. The zero Firewall stops nobody. A range that cannot be
// read lets nobody in.
func (f Firewall) Contains(addr netip.Addr) bool {
	if f.AllowAll || f.IsZero() {
		return true
	}
	prefixes, err := f.Prefixes()
	return err == nil && slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
}

// Complement returns everything that the firewall stops, in as few ranges as there can be: IPv4 first, sorted. Errors are
// fault.Invalid and name the range that cannot be read.
func (f Firewall) Complement() ([]netip.Prefix, error) {
	prefixes, err := f.Prefixes()
	if err != nil || f.AllowAll || f.IsZero() {
		return nil, err
	}
	var out []netip.Prefix
	for _, all := range []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)} {
		inside := slices.DeleteFunc(slices.Clone(prefixes), func(p netip.Prefix) bool { return p.Addr().Is4() != all.Addr().Is4() })
		out = outside(all, inside, out)
	}
	return out, nil
}

// outside appends the parts of within that none of the ranges, which all overlap it, covers. Halving keeps them as large
// as they can be.
func outside(within netip.Prefix, ranges, out []netip.Prefix) []netip.Prefix {
	if len(ranges) == 0 {
		return append(out, within)
	}
	if slices.ContainsFunc(ranges, func(r netip.Prefix) bool { return r.Bits() <= within.Bits() }) {
		return out
	}
	for _, half := range halves(within) {
		var overlap []netip.Prefix
		for _, r := range ranges {
			if r.Overlaps(half) {
				overlap = append(overlap, r)
			}
		}
		out = outside(half, overlap, out)
	}
	return out
}

func halves(p netip.Prefix) [2]netip.Prefix {
	bytes := p.Addr().AsSlice()
	bytes[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	upper, _ := netip.AddrFromSlice(bytes) // as long as it was
	return [2]netip.Prefix{netip.PrefixFrom(p.Addr(), p.Bits()+1), netip.PrefixFrom(upper, p.Bits()+1)}
}
