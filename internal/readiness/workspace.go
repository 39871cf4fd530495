package readiness

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

func judgeWorkspace(f Facts, w *Workspace) []item {
	items := []item{judgeState(f, w), judgeSnapshot(f, w), judgeChain(f, w), judgeLag(f, w), judgeSlot(f, w), judgeMetadata(f, w)}
	items = append(items, judgeSoftware(f, w)...)
	items = append(items, judgeServer(f, w)...)
	return slices.DeleteFunc(items, func(i item) bool { return i.State == "" })
}

// judgeLeftBehind names the workspaces that a failover does not bring back, besides those that are over.
func judgeLeftBehind(f Facts) (items []item) {
	for _, w := range f.Group.Workspaces {
		if w.Recoverable() || w.State == topology.WorkspaceTerminated {
			continue
		}
		text := fmt.Sprintf("It is %s, and a failover leaves it out", w.State)
		if w.Reason != "" {
			text += ": " + strings.TrimSuffix(w.Reason, ".")
		}
		i := warning("See: smartdr group show "+f.Group.Name, "state", "%s.", text)
		i.Workspace = w.Name
		items = append(items, i)
	}
	return items
}

func judgeState(f Facts, w *Workspace) item {
	const check = "state"
	switch {
	case w.State == topology.WorkspaceSuspended, w.State == topology.WorkspaceSuspending:
		return ok(check, "It is %s, and stays so after a failover.", w.State)
	case w.Sites[f.Group.Active].Kind == "":
		return warning(fmt.Sprintf("Go on with the failover that left it behind: smartdr failover --group %s --resume", f.Group.Name),
			check, "It has no server in %s, which serves.", f.Group.Active)
	}
	return ok(check, "It serves in %s.", f.Group.Active)
}

// idle reports whether nobody is expected to ship: everything was shipped before the server ended.
func (w *Workspace) idle() bool { return w.State == topology.WorkspaceSuspended }

// snapshotLateAfter is one missed snapshot, at one a day.
const snapshotLateAfter = 36 * time.Hour

func judgeSnapshot(f Facts, w *Workspace) item {
	const check = "snapshot"
	m := w.Snapshot
	switch {
	case m == nil && w.SnapshotErr != nil && !fault.Is(w.SnapshotErr, fault.Corrupt):
		return unknown(check, w.SnapshotErr)
	case m == nil:
		return noSnapshot(f, w)
	case w.SnapshotErr != nil:
		return warning("Wait for the next one, or take what is damaged from the other bucket.",
			check, "%s is usable, and one beside it is not: %s.", m.ID, w.SnapshotErr)
	case m.Lineage != w.Lineage:
		return warning("Wait until the first snapshot of the current lineage is complete: smartdr status --group "+f.Group.Name,
			check, "The newest usable one, %s, is of lineage %s: a failover would begin there and replay everything since.", m.ID, m.Lineage)
	}
	since := f.Now.Sub(m.CompletedAt)
	if since > snapshotLateAfter && !w.idle() {
		return warning("See in `smartdr status` why none was taken since; a failover has all WAL since then to replay.",
			check, "The newest, %s of %s, is %s old: it should be a day at most.", m.ID, bytes(m.TotalBytes), age(since))
	}
	return ok(check, "%s of %s is complete in the bucket of %s, %s old.", m.ID, bytes(m.TotalBytes), f.To, age(since))
}

func noSnapshot(f Facts, w *Workspace) item {
	text := fmt.Sprintf("No snapshot is complete in the bucket of %s", f.To)
	if t := w.Taking; t != nil && t.Lineage == w.Lineage && t.TotalBytes > 0 {
		text += fmt.Sprintf(": %d%% of the first one is there", min(99, 100*t.DoneBytes/t.TotalBytes))
	}
	if w.SnapshotErr != nil {
		text += "; one cannot be read: " + w.SnapshotErr.Error()
	}
	todo := fmt.Sprintf("Wait for it: smartdr status --group %s --wait", f.Group.Name)
	if t := w.Taking; t != nil && t.Error != "" {
		text += "; the last attempt failed: " + t.Error
		todo = "Put right what made it fail; it is tried again by itself."
	}
	return blocking(todo, "snapshot", "%s.", text)
}

// judgeChain compares the WAL that is really there with what was announced.
func judgeChain(f Facts, w *Workspace) item {
	const check = "chain"
	const todo = "See whether the other bucket still has the objects, and copy them; else a new snapshot is needed."
	c := w.Chain
	switch {
	case w.Snapshot == nil && w.SnapshotErr == nil:
		return item{} // the snapshot comes first
	case w.Snapshot == nil || w.ChainErr != nil && !fault.Is(w.ChainErr, fault.Corrupt) && !fault.Is(w.ChainErr, fault.Missing):
		return unknown(check, cmp.Or(w.ChainErr, w.SnapshotErr))
	case w.ChainErr != nil:
		return blocking(cmp.Or(fault.HintOf(w.ChainErr), todo), check, "The WAL in the bucket of %s cannot be read to its end: %s.", f.To, w.ChainErr)
	case c.Missing != "":
		return blocking(todo, check, "%s is not in the bucket of %s.", c.Missing, f.To)
	case c.Tip.LSN < w.end(f.To):
		return blocking(todo, check, "WAL from %s to %s was announced and is not in the bucket of %s.", c.Tip.LSN, w.end(f.To), f.To)
	case c.Tip.LSN < w.Snapshot.End.LSN && w.Snapshot.Lineage == w.Lineage:
		return blocking(todo, check, "The WAL in the bucket of %s ends at %s, before snapshot %s is consistent at %s.", f.To, c.Tip.LSN, w.Snapshot.ID, w.Snapshot.End.LSN)
	case c.Beyond != 0:
		return warning("Check again: if it stays, look whether the other bucket has what is between.",
			check, "The WAL in the bucket of %s ends at %s, and more of it begins at %s.", f.To, c.Tip.LSN, c.Beyond)
	}
	return ok(check, "The bucket of %s holds all WAL from %s to %s, in %d objects.", f.To, c.From, c.Tip.LSN, c.Objects)
}

// lagTolerated is far above what shipping takes, and far below what anybody wants to lose.
const lagTolerated = 60

// judgeLag never blocks: what is there can be recovered, and when the serving region is lost nobody ships.
func judgeLag(f Facts, w *Workspace) item {
	const check = "lag"
	see := "See what stands in the way: smartdr status --group " + f.Group.Name
	if w.WALErr != nil {
		return unknown(check, w.WALErr)
	}
	if w.idle() {
		return ok(check, "It is suspended: nothing is written.")
	}
	c := w.announced(f.To)
	if c == nil {
		return warning(see, check, "No shipper has said how far the bucket of %s is.", f.To)
	}
	since := f.Now.Sub(w.WAL.MeasuredAt)
	figures := fmt.Sprintf("%.1f s and %s behind, measured %s ago", c.LagSeconds, bytes(c.LagBytes), age(since))
	switch trouble := cmp.Or(w.WAL.Error, c.Error); {
	case since > topology.StaleAfter:
		return warning(see, check, "Nobody has shipped for %s; the bucket was %.1f s and %s behind then. What the server wrote since is lost in a failover.", age(since), c.LagSeconds, bytes(c.LagBytes))
	case trouble != "":
		return warning(see, check, "The bucket is %s, and gets no further: %s.", figures, strings.TrimSuffix(trouble, "."))
	case c.LagSeconds > lagTolerated:
		return warning(see, check, "The bucket is %s: that much would be lost.", figures)
	}
	return ok(check, "The bucket is %s.", figures)
}

func judgeSlot(f Facts, w *Workspace) item {
	const check = "slot"
	if w.WAL == nil || w.WAL.Lineage != w.Lineage || w.idle() {
		return item{} // judgeLag says that nobody reports
	}
	s := w.WAL.Slot
	switch {
	case s.Name == "":
		return warning("See the worker's log.", check, "The shipper did not say how its slot stands.")
	case s.WALStatus == "lost":
		return warning("Raise max_slot_wal_keep_size; a new snapshot is taken by itself.", check, "The server has dropped WAL that slot %s had not shipped.", s.Name)
	case s.WALStatus == "unreserved":
		return warning("Raise max_slot_wal_keep_size, and see why shipping is slow.", check, "The server may drop WAL that slot %s has not shipped with its next checkpoint.", s.Name)
	case s.WALStatus == "":
		return warning("See whether somebody dropped it; the shipper makes it anew.", check, "Slot %s reserves no WAL on the server.", s.Name)
	case s.SafeWALSize == nil:
		return warning("Set max_slot_wal_keep_size on the primary, to what its disk can spare.",
			check, "Slot %s is %s, and max_slot_wal_keep_size has no limit: while nobody ships, WAL is kept until the disk is full.", s.Name, s.WALStatus)
	case s.WALStatus == "extended":
		return warning("See why shipping is slow.", check, "Slot %s holds more WAL than max_wal_size; it is lost after %s more.", s.Name, bytes(*s.SafeWALSize))
	}
	return ok(check, "Slot %s is %s, and safe for %s more WAL.", s.Name, s.WALStatus, bytes(*s.SafeWALSize))
}

// captureLateAfter is three captures, at one every five minutes.
const captureLateAfter = 15 * time.Minute

func judgeMetadata(f Facts, w *Workspace) item {
	const check = "metadata"
	switch since := f.Now.Sub(w.CapturedAt); {
	case w.MetadataErr != nil:
		return unknown(check, w.MetadataErr)
	case w.Metadata == nil:
		return warning("See the worker's log: it is captured every five minutes while replication runs.",
			check, "Settings, access rules and extensions of the server were never captured: whether a host can run it is not known.")
	case w.InventoryAt.IsZero():
		return warning("See the worker's log: it is read every few seconds while replication runs.",
			check, "Roles, grants and owners were never listed: they come along, and nothing would show what is missing.")
	case since > captureLateAfter && !w.idle():
		return warning("See the worker's log: it is captured every five minutes while replication runs.",
			check, "Settings, access rules and extensions were captured %s ago: what changed since would be missing.", age(since))
	default:
		return ok(check, "Settings, access rules and extensions were captured %s ago, roles and grants listed %s ago.", age(since), age(f.Now.Sub(w.InventoryAt)))
	}
}
