package render

import (
	"fmt"
	"strings"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// Verified writes what a check of buckets found: first what is lost, then the objects.
func Verified(r workflows.VerifyResult, s Style) string {
	var b strings.Builder
	for i, v := range r.Regions {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(s.verified(v))
	}
	return b.String()
}

func (s Style) verified(v topology.Verified) string {
	var b strings.Builder
	if v.Error != "" {
		fmt.Fprintf(&b, "%s %s\n%s\n", s.paint(bold, v.Region), s.paint(red, "could not be checked: "+v.Error), v.Hint)
		return b.String()
	}
	fmt.Fprintf(&b, "%s %s\n", s.paint(bold, v.Region), s.verifiedAs(v))
	for _, l := range v.Lost {
		b.WriteString("  " + s.paint(red, l.Text) + "\n")
	}
	for _, f := range v.Findings {
		b.WriteString("\n" + s.finding(f))
	}
	if v.More > 0 {
		fmt.Fprintf(&b, "\nand %d more findings\n", v.More)
	}
	if len(v.Findings) > 0 {
		b.WriteString("\n")
	}
	b.WriteString(s.paint(dim, lookedAt(v)) + "\n")
	for _, n := range v.Notes {
		b.WriteString(s.paint(yellow, n) + "\n")
	}
	return b.String()
}

func (s Style) verifiedAs(v topology.Verified) string {
	switch n := len(v.Findings) + v.More; {
	case v.Broken():
		return s.paint(red, "has lost something:")
	case n == 0:
		return s.paint(green, "is whole")
	case n == 1:
		return s.paint(yellow, "has lost nothing, with one finding")
	default:
		return s.paint(yellow, fmt.Sprintf("has lost nothing, with %d findings", n))
	}
}

var severityColours = map[topology.Severity]colour{topology.SeverityLost: red, topology.SeverityDamaged: yellow, topology.SeverityNote: dim}

func (s Style) finding(f topology.Finding) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n  %s\n", s.paint(severityColours[f.Severity], string(f.Kind)), f.Key, f.What)
	for _, c := range f.Consequence {
		b.WriteString("  " + c + "\n")
	}
	if f.Repair != "" {
		b.WriteString("  " + s.paint(bold, f.Repair) + "\n")
	}
	return b.String()
}

func lookedAt(v topology.Verified) string {
	text := fmt.Sprintf("%d objects, %s, looked at in %s", v.Objects, Bytes(v.Bytes), Duration(v.EndedAt.Sub(v.StartedAt)))
	if v.Read == topology.VerifyNone {
		return text + "; no contents were read back"
	}
	text += fmt.Sprintf("; %d of them, %s, read back", v.ReadObjects, Bytes(v.ReadBytes))
	if v.Seed != 0 {
		text += fmt.Sprintf(" (sample %d)", v.Seed)
	}
	return text
}

// VerifyProgress writes how far a check is, on one line.
func VerifyProgress(p api.VerifyProgress) string {
	if p.OfBytes == 0 {
		return p.Region + ": " + p.Doing
	}
	return fmt.Sprintf("%s: %s %d of %d objects, %s of %s, %s/s", p.Region, p.Doing, p.Objects, p.Of, Bytes(p.Bytes), Bytes(p.OfBytes), Bytes(int64(p.Rate)))
}
