package render

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/topology"
)

// Switchover writes what a switchover or failback would do.
func Switchover(p api.SwitchoverPreview, now time.Time, style Style) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s  %s → %s  without losing anything\n\n", p.Kind, style.paint(bold, p.Group), p.From, p.To)
	var rows [][]cell
	for _, w := range p.Workspaces {
		address, size := "not known yet", "-"
		if w.Endpoint != nil {
			address = hosts(*w.Endpoint)
		}
		if w.Standby {
			address += " (follows already)"
		}
		if w.Bytes > 0 {
			size = Bytes(w.Bytes)
		}
		lag := "-"
		if !w.MeasuredAt.IsZero() {
			lag = Seconds(w.LagSeconds) + ", " + Bytes(w.LagBytes)
		}
		rows = append(rows, []cell{plain(w.Workspace), plain(orDash(string(w.Kind))), plain(size), plain(lag), plain(Ago(w.MeasuredAt, now)), plain(address)})
	}
	if len(rows) > 0 {
		b.WriteString(style.table([]string{"WORKSPACE", "SERVES AS", "SIZE", "LAG", "MEASURED", "WILL SERVE AT"}, rows) + "\n")
	}
	for i, step := range p.Steps {
		fmt.Fprintf(&b, "  %d. %s\n", i+1, step)
	}
	for _, w := range p.Warnings {
		b.WriteString("\n" + style.paint(yellow, w))
	}
	if len(p.Warnings) > 0 {
		b.WriteString("\n")
	}
	return b.String()
}

// Preprovision writes what standbys take and cost.
func Preprovision(p api.PreprovisionPreview, style Style) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Servers of %s that follow in %s", style.paint(bold, p.Group), p.Region)
	if !p.Since.IsZero() {
		fmt.Fprintf(&b, ", since %s", Moment(p.Since))
	}
	b.WriteString("\n\n")
	var rows [][]cell
	for _, w := range p.Workspaces {
		memory, cpus, disk := "not said", "not said", "not known yet"
		if !w.Size.IsZero() {
			memory, cpus = Bytes(w.Size.MemoryBytes), fmt.Sprintf("%g", w.Size.CPUs)
		}
		if w.DiskBytes > 0 {
			disk = Bytes(w.DiskBytes)
		}
		rows = append(rows, []cell{plain(w.Workspace), plain(memory), plain(cpus), plain(disk), plain(orDash(w.Host))})
	}
	b.WriteString(style.table([]string{"WORKSPACE", "MEMORY", "CPUS", "DISK", "HOST"}, rows))
	fmt.Fprintf(&b, "\nThey take %s of memory, %g CPUs and %s of disk.\n", Bytes(p.Total.MemoryBytes), p.Total.CPUs, Bytes(p.DiskBytes))
	if p.Month != nil {
		fmt.Fprintf(&b, "That is %.2f %s in a month.\n", *p.Month, p.Currency)
	} else {
		b.WriteString(p.Unpriced + "\n")
	}
	return b.String()
}

// Hooks writes what became of a test event.
func Hooks(t api.TestedHooks, style Style) string {
	var rows [][]cell
	for _, d := range t.Deliveries {
		mark, text, took := tinted(green, "✓"), d.Answer, Seconds(d.Seconds)
		if !d.Delivered {
			mark, text, took = tinted(red, "✗"), d.Error, "-"
			if d.Hint != "" {
				text += "; " + d.Hint
			}
		}
		rows = append(rows, []cell{mark, plain(d.Hook), plain(took), plain(orDash(d.Host)), plain(text)})
	}
	return style.table([]string{" ", "HOOK", "TOOK", "DELIVERED BY", "ANSWER"}, rows)
}

// left says of servers that wrote older lineages what keeps them from writing and what became of what only they have, a line for each,
// the newest first. Of those that need nobody's attention only the newest is named.
func (s Style) left(st topology.GroupStatus) string {
	var b strings.Builder
	for _, w := range st.Workspaces {
		calm := 0
		for _, l := range leftOf(w) {
			if l.tint == none {
				if calm++; calm > 1 {
					continue
				}
			}
			b.WriteString(s.paint(l.tint, "Workspace "+w.Workspace+": "+l.text) + "\n")
		}
		if calm > 1 {
			fmt.Fprintf(&b, "Workspace %s: of %d that were left before, nothing is to be done; -o json names them\n", w.Workspace, calm-1)
		}
	}
	return b.String()
}

// leftServer is what is said of a server that wrote an older lineage.
type leftServer struct {
	text string
	tint colour
}

func leftOf(w topology.WorkspaceStatus) (all []leftServer) {
	tails := map[string]topology.Tail{}
	for _, t := range w.Tails {
		tails[t.Lineage] = t
	}
	for _, f := range w.Fences {
		text, tint := fenceText(f)
		if t, ok := tails[f.Lineage]; ok {
			delete(tails, f.Lineage)
			text, tint = text+"; "+tailText(t), cmp.Or(tint, tailTint(t))
		}
		all = append(all, leftServer{fmt.Sprintf("the server in %s that wrote lineage %s %s", f.Region, f.Lineage, text), tint})
	}
	for _, t := range w.Tails {
		if _, open := tails[t.Lineage]; open {
			all = append(all, leftServer{fmt.Sprintf("lineage %s was left; %s", t.Lineage, tailText(t)), tailTint(t)})
		}
	}
	return all
}

func tailTint(t topology.Tail) colour {
	if t.Complete {
		return none
	}
	return yellow
}

func fenceText(f topology.Fence) (string, colour) {
	switch {
	case f.State == topology.FenceLifted:
		return "is fenced no more", none
	case f.Worth == topology.FenceNone:
		return "could not be fenced: it may still take writes, which nobody follows" + because(f.Reason), red
	}
	text := fmt.Sprintf("is fenced (%s)", f.Worth)
	if f.Self {
		text = fmt.Sprintf("fenced itself (%s)", f.Worth)
	}
	if f.State == topology.FenceHolding {
		text += " for as long as the operation needs it"
	}
	if f.Worth == topology.FenceBestEffort {
		return text + because(f.Reason), yellow
	}
	return text, none
}

// tailText says how much a server wrote that the newer lineage does not have.
func tailText(t topology.Tail) string {
	text := "its tail: " + transactions(t.Commits) + ", " + Bytes(t.Bytes())
	switch {
	case t.Complete && t.Bytes() == 0:
		return "it wrote nothing that is missing elsewhere"
	case t.Complete:
		return text + ", complete"
	}
	return text + " so far, not complete" + because(t.Error)
}

func transactions(n int64) string {
	if n == 1 {
		return "1 transaction"
	}
	return fmt.Sprintf("%d transactions", n)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// selfFencing says what a region does by itself.
func (s Style) selfFencing(st topology.GroupStatus) string {
	if st.Group.SelfFenceAfter == 0 {
		return ""
	}
	return fmt.Sprintf("%s fences itself when it reaches neither %s nor Temporal for %s\n", st.Group.Active, st.Group.Other(st.Group.Active), Duration(time.Duration(st.Group.SelfFenceAfter)*time.Second))
}

// protection says whether a failover would lose little now, and since when.
func (s Style) protection(st topology.GroupStatus, now time.Time) string {
	p := st.Protection
	if p == nil || st.Group.Replication == nil {
		return ""
	}
	if p.Epoch != st.Group.Epoch {
		return s.paint(yellow, fmt.Sprintf("Whether epoch %d is protected was not looked at yet", st.Group.Epoch)) + "\n"
	}
	if p.Protected {
		return s.paint(green, fmt.Sprintf("Protected by %s since %s", p.Region, Moment(p.Since))) + "\n"
	}
	text := "Not protected"
	if !p.Since.IsZero() {
		text += " for " + Duration(now.Sub(p.Since))
	}
	return s.paint(red, text+because(p.Reason)) + "\n"
}

// standbys is a line for each server that follows in the region that does not serve.
func (s Style) standbys(st topology.GroupStatus, now time.Time) string {
	other := st.Group.Other(st.Group.Active)
	var b strings.Builder
	for i := range st.Group.Workspaces {
		w := &st.Group.Workspaces[i]
		kept, there := w.Standbys[other]
		if !w.Recoverable() || !there && st.Group.Preprovision == nil {
			continue
		}
		text, tint := fmt.Sprintf("Standby of %s in %s", w.Name, other), none
		progress := standbyOf(st, w.Name)
		switch {
		case !there:
			text, tint = text+" is being made", yellow
		case progress == nil || progress.ID != kept.ID:
			text, tint = fmt.Sprintf("%s on %s has not said how far it is", text, kept.Host), yellow
		case progress.Error != "":
			text, tint = fmt.Sprintf("%s on %s stands still: %s", text, kept.Host, progress.Error), red
		case progress.Phase != "following":
			text, tint = fmt.Sprintf("%s on %s is %s, at %s", text, kept.Host, progress.Phase, progress.Replayed), yellow
		default:
			text += fmt.Sprintf(" on %s follows, %s behind its bucket at %s, measured %s", kept.Host, Seconds(progress.LagSeconds), progress.Replayed, Ago(progress.MeasuredAt, now))
		}
		b.WriteString(s.paint(tint, text) + "\n")
	}
	return b.String()
}

func standbyOf(st topology.GroupStatus, workspace string) *topology.StandbyProgress {
	for _, w := range st.Workspaces {
		if w.Workspace == workspace {
			return w.Standby
		}
	}
	return nil
}
