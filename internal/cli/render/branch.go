package render

import (
	"fmt"
	"strings"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/topology"
)

// Branches writes one line for each branch.
func Branches(all []api.Branch, style Style) string {
	if len(all) == 0 {
		return "No branch yet: smartdr branch create --help\n"
	}
	var rows [][]cell
	for _, v := range all {
		b := v.Branch
		rows = append(rows, []cell{
			plain(b.Name), plain(originOf(b)), plain(b.Region), plain(Moment(b.Moment)), plain(b.Base.At.LSN.String()),
			branchState(b), plain(added(v)), plain(v.URL),
		})
	}
	return style.table([]string{"BRANCH", "OF", "REGION", "LAST COMMIT", "LSN", "STATE", "ADDED", "CONNECT"}, rows)
}

// originOf is what a branch was made of.
func originOf(b topology.Branch) string {
	if b.From != "" {
		return b.From
	}
	if b.Database == "" {
		return b.Workspace
	}
	return b.Workspace + "/" + b.Database
}

func branchState(b topology.Branch) cell {
	a := b.Attached
	switch {
	case a == nil:
		return plain("detached")
	case a.Error != "":
		return tinted(red, string(a.State)+": "+a.Error)
	case a.State != topology.AttachmentServes:
		return tinted(yellow, string(a.State))
	case a.ReadOnly:
		return tinted(green, "attached, read-only")
	}
	return tinted(green, "attached")
}

func added(v api.Branch) string {
	if v.Unsure != "" {
		return "at least " + Bytes(v.Bytes)
	}
	return Bytes(v.Bytes)
}

// Branch writes all that is known of a branch.
func Branch(v api.Branch, style Style) string {
	b := v.Branch
	var text strings.Builder
	say := func(what, value string) {
		if value != "" {
			fmt.Fprintf(&text, "%-13s %s\n", what, value)
		}
	}
	say("Branch", style.paint(bold, b.Name))
	say("Of", originOf(b))
	say("Why", b.Reason)
	say("Region", b.Region)
	say("Begins at", fmt.Sprintf("%s of lineage %s, last commit %s", b.Base.At.LSN, b.Base.Lineage, Moment(b.Moment)))
	say("Made", Moment(b.CreatedAt))
	say("Added", added(v)+addedHow(v))
	state := branchState(b)
	say("State", style.paint(state.colour, state.text))
	if a := b.Attached; a != nil {
		say("On host", a.Host)
		say("Since", Moment(a.Since))
		say("Hint", a.Hint)
		for _, l := range a.Links {
			say("Linked", fmt.Sprintf("%s as schema %s of %s", l.Of, l.Schema, l.Database))
		}
	}
	say("Connect", v.URL)
	for _, note := range v.Notes {
		say("Note", note)
	}
	say("Not known", v.Unsure)
	return text.String()
}

// addedHow says what a branch's bytes are.
func addedHow(v api.Branch) string {
	if !v.Branch.Written() {
		return " to the bucket: it is unwritten, and no more than its entry in the group's document"
	}
	return fmt.Sprintf(" to the bucket, %s of it written to the branch", Bytes(v.WALBytes))
}
