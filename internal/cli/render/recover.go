package render

import (
	"fmt"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/topology"
)

// Recover writes which groups a region's bucket knows, and what taking each of them over would mean.
func Recover(all []api.Recoverable, region string, now time.Time, style Style) string {
	var b strings.Builder
	var rows [][]cell
	for _, r := range all {
		g := r.Group
		rows = append(rows, []cell{plain(g.Name), plain(g.Active), plain(fmt.Sprint(g.Epoch)), plain(g.Authority), plain(actsFor(g)), plain(wouldDo(r, region))})
	}
	b.WriteString(style.table([]string{"GROUP", "SERVES", "EPOCH", "DECIDES", "CONTROL PLANE SINCE", "WOULD BE"}, rows))
	for _, r := range all {
		if r.Refused != "" {
			fmt.Fprintf(&b, "\n%s\n%s\n", style.paint(red, r.Refused), r.Hint)
		}
		if r.Preview != nil && r.Silent == "" {
			b.WriteString("\n" + Preview(*r.Preview, now, style))
		}
	}
	return b.String()
}

func actsFor(g topology.Group) string {
	if g.Controller == nil {
		return "-"
	}
	return g.Controller.Since.UTC().Format("2006-01-02 15:04 UTC")
}

func wouldDo(r api.Recoverable, region string) string {
	switch {
	case r.Refused != "":
		return "left alone"
	case r.Resume:
		return "taken over, its last failover gone on with"
	case r.Preview != nil:
		return "taken over, failed over to " + region
	}
	return "taken over"
}

// Recovered writes what was taken over, and how each failover ended.
func Recovered(names []string, ops []topology.Operation, now time.Time, style Style) string {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%s is under this control plane now\n", name)
	}
	for _, op := range ops {
		b.WriteString("\n" + Operation(op, now, style))
	}
	return b.String()
}
