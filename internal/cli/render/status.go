package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/topology"
)

var stateColours = map[topology.DatabaseState]colour{
	topology.Active: green, topology.Pending: yellow, topology.Inactive: yellow, topology.Error: red,
}

// Status writes a group's replication: its workspaces that do not serve, its databases, its buckets, and what stands in
// the way.
func Status(s topology.GroupStatus, now time.Time, style Style) string {
	s = ofThisLineage(s)
	var b strings.Builder
	b.WriteString(style.groupLine(s.Group) + "\n")
	if s.Group.Operation != nil {
		op := s.Group.Operation
		b.WriteString(style.paint(yellow, fmt.Sprintf("%s %s has been under way for %s", op.Kind, op.ID, Duration(now.Sub(op.StartedAt)))) + "\n")
	}
	b.WriteString(style.silent(s.Silent) + style.protection(s, now) + style.selfFencing(s) + style.standing(s.Group))
	switch {
	case s.Group.State == topology.GroupTerminated:
		return b.String() + "\nThe group is terminated. What is in the buckets stays until its retention ends.\n"
	case !s.Group.SmartDR:
		return b.String() + "\nThe group is not replicated: it was made without the option SmartDR (smartdr group change " + s.Group.Name + " --smartdr)\n"
	case s.Group.Replication == nil:
		return b.String() + "\nReplication is not configured: smartdr configure --group " + s.Group.Name + " --secondary REGION\n"
	}
	b.WriteString("\n" + style.databases(s, now))
	if cursors := style.cursors(s, now); cursors != "" {
		b.WriteString("\n" + cursors)
	}
	for _, more := range []string{style.standbys(s, now), style.left(s), style.behind(s), style.reasons(s) + style.complaints(s)} {
		if more != "" {
			b.WriteString("\n" + more)
		}
	}
	return b.String()
}

// ofThisLineage leaves out what was announced for another lineage than a workspace's current one: after a failover that is
// the old side, which nobody ships from any more.
func ofThisLineage(s topology.GroupStatus) topology.GroupStatus {
	s.Workspaces = slices.Clone(s.Workspaces)
	for i := range s.Workspaces {
		ws := &s.Workspaces[i]
		of := s.Group.Workspace(ws.Workspace)
		if ws.WAL != nil && of != nil && ws.WAL.Lineage != of.Lineage {
			ws.WAL = nil
		}
		if ws.Snapshot != nil && of != nil && ws.Snapshot.Lineage != of.Lineage {
			ws.Snapshot = nil
		}
	}
	return s
}

// standing is a line for each workspace that does not serve, though it is not over.
func (s Style) standing(g topology.Group) string {
	var b strings.Builder
	for _, w := range g.Workspaces {
		now := api.Standing(g, w)
		if now.State == api.WorkspaceActive || now.Over() {
			continue
		}
		text := fmt.Sprintf("Workspace %s is %s", w.Name, now.State)
		if now.Reason != "" {
			text += ": " + now.Reason
		}
		b.WriteString(s.paint(workspaceState(now.State).colour, text) + "\n")
	}
	return b.String()
}

func (s Style) groupLine(g topology.Group) string {
	direction := g.Primary
	if g.Secondary != "" {
		direction = g.Active + " → " + g.Other(g.Active)
	}
	return fmt.Sprintf("%s  %s  epoch %d", s.paint(bold, g.Name), direction, g.Epoch)
}

func (s Style) silent(silent map[string]string) string {
	var b strings.Builder
	for _, region := range slices.Sorted(maps.Keys(silent)) {
		b.WriteString(s.paint(red, fmt.Sprintf("The bucket of %s does not answer: %s", region, silent[region])) + "\n")
	}
	return b.String()
}

func (s Style) databases(st topology.GroupStatus, now time.Time) string {
	var rows [][]cell
	for _, w := range st.Workspaces {
		for _, d := range w.Databases {
			rows = append(rows, s.databaseRow(d, now))
		}
	}
	if len(rows) == 0 {
		return "No database is known yet: the first snapshot has not begun.\n"
	}
	return s.table([]string{"WORKSPACE", "DATABASE", "STATE", "DONE", "LAG", "RECOVERY POINT", "AGE"}, rows)
}

func (s Style) databaseRow(d topology.DatabaseStatus, now time.Time) []cell {
	lag, point := "-", "-"
	if d.State != topology.Pending && !d.Lag.MeasuredAt.IsZero() {
		lag = Seconds(d.Lag.Seconds) + ", " + Bytes(d.Lag.Bytes)
		point = d.Lag.LSN.String()
	}
	return []cell{
		plain(d.Workspace), plain(d.Database), tinted(stateColours[d.State], string(d.State)),
		plain(s.done(d.Percent)), plain(lag), plain(point), plain(strings.TrimSuffix(Ago(d.Lag.MeasuredAt, now), " ago")),
	}
}

func (s Style) done(percent float64) string {
	if !s.Bars || percent >= 100 {
		return Percent(percent)
	}
	return bar(percent) + " " + Percent(percent)
}

func (s Style) cursors(st topology.GroupStatus, now time.Time) string {
	var rows [][]cell
	for _, w := range st.Workspaces {
		if w.WAL == nil {
			continue
		}
		for _, c := range w.WAL.Cursors {
			rows = append(rows, []cell{
				plain(w.Workspace), plain(c.Region), tinted(modeColour(c), c.Mode),
				plain(Seconds(c.LagSeconds) + ", " + Bytes(c.LagBytes)), plain(c.Point.At.LSN.String()),
				plain(Ago(c.Point.LastCommit, now)), plain(Bytes(c.BytesSent)),
			})
		}
	}
	if len(rows) == 0 {
		return ""
	}
	return s.table([]string{"WORKSPACE", "BUCKET", "WAL", "LAG", "STORED TO", "LAST COMMIT", "SENT"}, rows)
}

func modeColour(c topology.Cursor) colour {
	if c.Error != "" {
		return red
	}
	if c.Mode != "live" {
		return yellow
	}
	return green
}

// reasons are why databases are not Active: a line for each reason, with the databases that it holds for.
func (s Style) reasons(st topology.GroupStatus) string {
	var b strings.Builder
	for _, w := range st.Workspaces {
		var order []string
		names, tint := map[string][]string{}, map[string]colour{}
		for _, d := range w.Databases {
			if d.Reason == "" {
				continue
			}
			if names[d.Reason] == nil {
				order = append(order, d.Reason)
			}
			names[d.Reason] = append(names[d.Reason], d.Database)
			tint[d.Reason] = stateColours[d.State]
		}
		for _, reason := range order {
			b.WriteString(s.paint(tint[reason], fmt.Sprintf("%s/%s: %s", w.Workspace, strings.Join(names[reason], ","), reason)) + "\n")
		}
	}
	return b.String()
}

// complaints are the sentences that concern whole workspaces.
func (s Style) complaints(st topology.GroupStatus) string {
	var b strings.Builder
	for _, w := range st.Workspaces {
		if of := st.Group.Workspace(w.Workspace); of != nil && of.State != topology.WorkspaceActive {
			continue // its server is not there, and why is said above
		}
		for _, c := range complaintsOf(w) {
			b.WriteString(s.paint(c.colour, "workspace "+w.Workspace+": "+c.text) + "\n")
		}
	}
	return b.String()
}

func complaintsOf(w topology.WorkspaceStatus) (all []cell) {
	say := func(c colour, format string, args ...any) { all = append(all, tinted(c, fmt.Sprintf(format, args...))) }
	if w.Snapshot != nil && w.Snapshot.Error != "" {
		say(red, "snapshot %s: %s", w.Snapshot.ID, w.Snapshot.Error)
	}
	if w.WAL == nil {
		return all
	}
	if w.WAL.Error != "" {
		say(red, "shipping stands still: %s", w.WAL.Error)
	}
	for _, c := range w.WAL.Cursors {
		if c.Error != "" {
			say(red, "bucket of %s: %s", c.Region, c.Error)
		}
	}
	switch slot := w.WAL.Slot; slot.WALStatus {
	case "lost":
		say(red, "the server has dropped WAL that slot %s had not shipped; a new snapshot is needed", slot.Name)
	case "unreserved":
		say(red, "the server may drop WAL that slot %s has not shipped at any moment", slot.Name)
	case "extended":
		say(yellow, "slot %s holds more WAL than max_wal_size", slot.Name)
	}
	return all
}

// DatabaseKey changes when a line about a database is worth printing: with its state, its reason, and each tenth of
// its first snapshot.
func DatabaseKey(d topology.DatabaseStatus) string {
	return fmt.Sprint(d.State, int(d.Percent/10), d.Reason)
}

// DatabaseLine writes one database's status on one line, for output that only grows.
func DatabaseLine(d topology.DatabaseStatus) string {
	return fmt.Sprintf("%s/%s → %s  %s", d.Workspace, d.Database, d.Region, databaseState(d))
}

// DatabaseNow writes what stands beside a database's progress bar.
func DatabaseNow(d topology.DatabaseStatus, now time.Time, style Style) string {
	text := style.paint(stateColours[d.State], databaseState(d))
	if !d.Lag.MeasuredAt.IsZero() && d.State != topology.Pending {
		text += "  measured " + Ago(d.Lag.MeasuredAt, now)
	}
	return text
}

func databaseState(d topology.DatabaseStatus) string {
	text := string(d.State)
	switch {
	case d.State == topology.Pending:
		text += " " + Percent(d.Percent)
	case !d.Lag.MeasuredAt.IsZero():
		text += fmt.Sprintf("  lag %s, %s  at %s", Seconds(d.Lag.Seconds), Bytes(d.Lag.Bytes), d.Lag.LSN)
	}
	if d.Reason != "" {
		text += "  " + d.Reason
	}
	return text
}
