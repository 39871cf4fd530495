package readiness

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/topology"
)

// judgeServer says what an operator should know of the server itself, from its last capture.
func judgeServer(f Facts, w *Workspace) []item {
	if w.Metadata == nil {
		return nil
	}
	items := []item{judgeDatabases(f, w), judgePrepared(w), judgeFirewall(f, w)}
	for _, note := range w.Metadata.Notes {
		text, todo := parted(note)
		items = append(items, warning(todo, "server", "%s.", text))
	}
	return items
}

// parted returns what a note of a capture says, and what it says is to be done.
func parted(note string) (text, todo string) {
	text, todo, found := strings.Cut(note, "; run: ")
	if before, after, there := strings.Cut(note, "; in the database postgres, run: "); there {
		text, todo, found = before, after+" (in the database postgres)", true
	}
	text = strings.TrimSuffix(strings.ToUpper(text[:1])+text[1:], ".")
	if !found {
		return text, "Know it before a failover, or change it on the primary."
	}
	return text, "Run: " + todo
}

func judgeDatabases(f Facts, w *Workspace) item {
	const check = "databases"
	chosen, all := f.Group.Replication.Chosen(w.Name)
	var there, left, invalid, lost []string
	for _, d := range w.Metadata.Databases {
		switch {
		case d.Template:
			continue
		case d.Invalid:
			invalid = append(invalid, d.Name)
		case !all && !slices.Contains(chosen, d.Name) && !slices.Contains(topology.SystemDatabases, d.Name):
			left = append(left, d.Name)
		}
		there = append(there, d.Name)
	}
	for _, entry := range f.Group.Replication.Databases {
		// A name alone holds for whichever workspace has a database of that name.
		if in, name := topology.SplitDatabase(entry); in == w.Name && !slices.Contains(there, name) {
			lost = append(lost, name)
		}
	}
	switch {
	case len(invalid) > 0:
		return warning("Run DROP DATABASE for each on the primary.", check, "What an interrupted DROP DATABASE left: %s.", strings.Join(invalid, ", "))
	case len(lost) > 0:
		return warning("Correct the choice, or make the database.", check, "Chosen, and not on the server: %s.", strings.Join(lost, ", "))
	case len(left) > 0:
		return ok(check, "Left out by choice, and gone after a failover: %s.", strings.Join(left, ", "))
	}
	return ok(check, "All %d are replicated.", len(there))
}

func judgePrepared(w *Workspace) item {
	const check = "prepared transactions"
	var open []string
	for _, p := range w.Metadata.Prepared {
		open = append(open, fmt.Sprintf("%s in %s since %s", p.GID, p.Database, p.Since.UTC().Format("2006-01-02 15:04 UTC")))
	}
	if len(open) > 0 {
		return warning("Run COMMIT PREPARED or ROLLBACK PREPARED for each on the primary.", check,
			"Open, and with their locks so after a failover: %s.", strings.Join(open, ", "))
	}
	return ok(check, "None has been open for more than a minute.")
}

// judgeFirewall: an adopted primary has its own access rules, which SmartDR does not touch. After a failover the group's
// firewall holds, so that who gets in now may not get in then.
func judgeFirewall(f Facts, w *Workspace) item {
	const check = "firewall"
	if f.Group.Firewall.IsZero() {
		return ok(check, "The group has none: the access rules of the server decide, here and there.")
	}
	if f.Group.Firewall.AllowAll || w.Managed(f.Group.Active) {
		return ok(check, "It holds here as it would there.")
	}
	if !w.Metadata.HBAKnown {
		return warning("Let SmartDR read them; what was captured says how.", check, "The access rules of the server may not be read: whether others get in than the firewall allows is not known.")
	}
	outside, err := f.Group.Firewall.Complement()
	if err != nil {
		return unknown(check, err)
	}
	var open []string
	for i, r := range w.Metadata.HBA {
		if letsIn(r, outside) && !stopped(w.Metadata.HBA[:i], r) {
			open = append(open, ruleText(r))
		}
	}
	if len(open) > 0 {
		return warning("Narrow these rules in pg_hba.conf, or widen the firewall: smartdr group change", check,
			"The adopted server lets in addresses that the firewall stops after a failover: %s.", strings.Join(open, "; "))
	}
	return ok(check, "The server lets in nobody whom the firewall stops after a failover.")
}

func letsIn(r metadata.HBARule, outside []netip.Prefix) bool {
	if r.Type == "local" || r.Method == "reject" {
		return false
	}
	p, known := addresses(r)
	return known && slices.ContainsFunc(outside, func(o netip.Prefix) bool { return o.Overlaps(p) }) || r.Address == "all" && len(outside) > 0
}

// stopped reports whether an earlier rule rejects everything that r would let in.
func stopped(earlier []metadata.HBARule, r metadata.HBARule) bool {
	p, known := addresses(r)
	return slices.ContainsFunc(earlier, func(e metadata.HBARule) bool {
		if e.Method != "reject" || e.Type != "host" || !slices.Contains(e.Databases, "all") || !slices.Contains(e.Users, "all") {
			return false
		}
		wide, ok := addresses(e)
		return e.Address == "all" || ok && known && wide.Bits() <= p.Bits() && wide.Contains(p.Addr())
	})
}

// addresses returns the range of a rule; false for names, which only the server can resolve.
func addresses(r metadata.HBARule) (netip.Prefix, bool) {
	addr, err := netip.ParseAddr(r.Address)
	if err != nil {
		p, err := netip.ParsePrefix(r.Address)
		return p.Masked(), err == nil
	}
	bits := addr.BitLen()
	if mask, err := netip.ParseAddr(r.Netmask); err == nil {
		bits = ones(mask)
	}
	return netip.PrefixFrom(addr, bits).Masked(), true
}

func ones(mask netip.Addr) (n int) {
	for _, b := range mask.AsSlice() {
		for ; b&0x80 != 0; b <<= 1 {
			n++
		}
	}
	return n
}

func ruleText(r metadata.HBARule) string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", r.Type, strings.Join(r.Databases, ","), strings.Join(r.Users, ","), r.Address, r.Netmask)) + " " + r.Method
}
