package render

import (
	"fmt"
	"strings"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/topology"
)

// Databases writes the databases of a group: those of its workspaces, then what is system-managed, then branches.
func Databases(dbs []api.Database, style Style) string {
	if len(dbs) == 0 {
		return "No database is known yet: smartdr configure --help\n"
	}
	of := map[topology.ListedKind][]api.Database{}
	for _, d := range dbs {
		of[d.Kind] = append(of[d.Kind], d)
	}
	var parts []string
	if own := of[topology.AttachedKind]; len(own) > 0 {
		parts = append(parts, style.ownDatabases(own))
	}
	if behind := of[topology.SystemManagedKind]; len(behind) > 0 {
		parts = append(parts, style.systemManaged(behind))
	}
	if branches := of[topology.BranchKind]; len(branches) > 0 {
		parts = append(parts, style.listedBranches(branches))
	}
	return strings.Join(parts, "\n")
}

func (s Style) ownDatabases(dbs []api.Database) string {
	var rows [][]cell
	for _, d := range dbs {
		state, size := tinted(stateColours[d.State], string(d.State)), "-"
		if !d.Replicated {
			state = tinted(dim, "left out")
		}
		if d.SizeBytes > 0 {
			size = Bytes(d.SizeBytes)
		}
		rows = append(rows, []cell{plain(d.Workspace), plain(d.Name), state, plain(size), plain(d.Reason)})
	}
	return s.table([]string{"WORKSPACE", "DATABASE", "STATE", "SIZE", "REASON"}, rows)
}

// systemManaged writes what goes on of databases of a region that was lost, and the command that leads into the first.
func (s Style) systemManaged(dbs []api.Database) string {
	var rows [][]cell
	which := ""
	for _, d := range dbs {
		l := d.Detached
		if which == "" && l.MissingRows != "" {
			which = "\nSee which rows wait there, and merge them: " + l.MissingRows
		}
		tint := yellow
		if l.State == topology.Complete {
			tint = none
		}
		rows = append(rows, []cell{plain(d.Workspace), plain(d.Name), tinted(tint, string(d.State)), plain(l.At.LSN.String()), plain(Moment(l.Time)),
			plain(waiting(l.Transactions, l.Bytes)), plain(Moment(l.Since)), plain(d.Reason)})
	}
	return s.table([]string{"WORKSPACE", "SYSTEM-MANAGED", "STATE", "RECOVERY POINT", "LAST COMMIT", "WAITING", "SINCE", "REASON"}, rows) + which +
		"\nA system-managed database is attached to nothing. See into it by a branch: " + dbs[0].Detached.Hint + "\n"
}

// waiting writes what a system-managed database has that the one which serves lacks.
func waiting(transactions, bytes int64) string {
	if bytes == 0 {
		return "-"
	}
	if transactions == 1 {
		return "1 transaction, " + Bytes(bytes)
	}
	return fmt.Sprintf("%d transactions, %s", transactions, Bytes(bytes))
}

func (s Style) listedBranches(dbs []api.Database) string {
	var rows [][]cell
	for _, d := range dbs {
		l, at := d.Detached, "-"
		if len(l.Endpoint.Hosts) > 0 {
			at = fmt.Sprintf("%s:%d", l.Endpoint.Hosts[0].Host, l.Endpoint.Hosts[0].Port)
		}
		if l.ReadOnly {
			at += " (read-only)"
		}
		rows = append(rows, []cell{plain(d.Workspace), plain(d.Name), plain(orDash(l.Of)), plain(string(d.State)), plain(at), plain(Moment(l.Time)), plain(d.Reason)})
	}
	return s.table([]string{"WORKSPACE", "BRANCH", "OF", "STATE", "AT", "MOMENT", "REASON"}, rows)
}

// behind is a line for each system-managed database: what waits there.
func (s Style) behind(st topology.GroupStatus) string {
	var b strings.Builder
	for _, w := range st.Waiting() {
		tint, text := yellow, waiting(w.Commits, w.Bytes)+" that the one which serves lacks; "
		switch {
		case w.Bytes == 0:
			text = ""
		case w.NothingMissing():
			tint, text = none, ""
		case w.Complete:
			tint = none
		}
		b.WriteString(s.paint(tint, fmt.Sprintf("%s/%s is system-managed, detached: %s%s", w.Workspace, w.Name, text, w.Sentence())) + "\n")
		if w.SomethingWaits() {
			b.WriteString("  which rows: " + w.MissingRowsCommand(&st.Group) + "\n")
		}
	}
	return b.String()
}
