package render

import (
	"fmt"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/topology"
)

// account is what an operation did besides bringing workspaces up: how long nobody could write, and what keeps the servers that served
// before from writing.
func (s Style) account(op topology.Operation, now time.Time) string {
	var b strings.Builder
	if op.Gap != nil {
		b.WriteString(gapText(op, now) + "\n")
	}
	for _, f := range op.Fences {
		text, tint := fenceText(f)
		line := fmt.Sprintf("The server of %s in %s %s", f.Workspace, f.Region, text)
		if f.End.LSN != 0 && f.State != topology.FenceLifted {
			line += fmt.Sprintf("; the last of it is at %s", f.End.LSN)
		}
		b.WriteString(s.paint(tint, line) + "\n")
	}
	if b.Len() == 0 {
		return ""
	}
	return "\n" + b.String()
}

func gapText(op topology.Operation, now time.Time) string {
	switch {
	case op.State == topology.OperationActive && op.Gap.To.IsZero():
		return fmt.Sprintf("Nobody has been able to write for %s, of at most %s", Duration(now.Sub(op.Gap.From)), Duration(op.Gap.Most))
	case op.Gap.To.IsZero():
		return fmt.Sprintf("Nobody could write since %s", Moment(op.Gap.From))
	}
	return fmt.Sprintf("Nobody could write for %s, of at most %s", Duration(op.Gap.Length()), Duration(op.Gap.Most))
}

// movedText says where the bytes of a workspace came from.
func movedText(m topology.Moved) string {
	text := fmt.Sprintf("%s, of which %s came from the bucket", Bytes(m.Bytes), Bytes(m.Fetched))
	if m.Reused > 0 {
		text += fmt.Sprintf(" and %s were on the host already", Bytes(m.Reused))
	}
	return text
}
