package render

import (
	"fmt"
	"strings"

	"github.com/smartdr/smartdr/internal/api"
)

// InPlace writes what a restore in place would do.
func InPlace(p api.InPlacePreview, style Style) string {
	var text strings.Builder
	fmt.Fprintf(&text, "Restore of workspace %s of group %s in place, in %s\n\n", style.paint(bold, p.Workspace), style.paint(bold, p.Group), p.Region)
	fmt.Fprintf(&text, "The last commit that is there afterwards: %s (%s of lineage %s)\n\n", Moment(p.Point.LastCommit), p.Point.RecordEnd, p.Point.Lineage)
	for i, s := range p.Steps {
		fmt.Fprintf(&text, "%2d. %s\n", i+1, s)
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&text, "%s %s\n", style.paint(yellow, "Note:"), n)
	}
	return text.String()
}
