package metadata

import (
	"fmt"
	"strings"
)

// SettingDifference is a setting that is not on a restored server what it is on the primary.
type SettingDifference struct {
	Name    string `json:"name"`
	Primary string `json:"primary"`
	Here    string `json:"here"`
	Why     string `json:"why"` // "" when nothing explains it
	Cause   Cause  `json:"cause,omitempty"`
}

func (d SettingDifference) String() string {
	text := fmt.Sprintf("%s is %s here and %s on the primary", d.Name, shown(d.Here), shown(d.Primary))
	if d.Why == "" {
		return text + ", and nothing explains why: set it by ALTER SYSTEM"
	}
	return text + ": " + d.Why
}

func shown(value string) string {
	if value == "" {
		return "empty"
	}
	return value
}

// Cause is what differences of one kind have in common, so that one sentence tells them all.
type Cause string

const (
	// OfPlace: no two servers have it the same, as ports and folders.
	OfPlace Cause = "place"
	// OfRecovery: it holds until the server's next start.
	OfRecovery Cause = "recovery"
)

// SettingNotes tells differences to a person: what is alike in one sentence, the others one by one.
func SettingNotes(all []SettingDifference) (notes []string) {
	names := map[Cause][]string{}
	for _, d := range all {
		if names[d.Cause] = append(names[d.Cause], d.Name); d.Cause == "" {
			notes = append(notes, d.String())
		}
	}
	if of := names[OfPlace]; len(of) > 0 {
		notes = append(notes, "these settings are the place's, not the primary's: "+strings.Join(of, ", "))
	}
	if of := names[OfRecovery]; len(of) > 0 {
		notes = append(notes, "these settings are what recovery needed, and the primary's from the server's next start on: "+strings.Join(of, ", "))
	}
	return notes
}
