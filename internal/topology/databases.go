package topology

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// StaleAfter is the age at which an announcement no longer shows that somebody ships.
const StaleAfter = 60 * time.Second

// Observation is what is known of one workspace's replication at a time.
type Observation struct {
	Group     *Group
	Workspace *Workspace
	WAL       *WALProgress      // last announced; nil for none
	Snapshot  *SnapshotProgress // last announced; nil for none
	Databases []string          // names, as last captured from the server; nil when unknown
	Now       time.Time
}

// DatabaseStatuses says how each replicated database stands in the region that its group replicates to. It returns nil
// while no replication is configured, and for a workspace that is over.
func DatabaseStatuses(o Observation) []DatabaseStatus {
	if o.Group.Replication == nil || o.Group.Secondary == "" || o.Workspace.State == WorkspaceTerminated {
		return nil
	}
	o = o.current()
	region := o.Group.Other(o.Group.Active)
	out := []DatabaseStatus{}
	for _, name := range o.replicated() {
		s := DatabaseStatus{Workspace: o.Workspace.Name, Database: name, Region: region, Percent: 100, Lag: o.lag(region)}
		if s.State, s.Reason = o.state(region, o.lacks(name, region)); s.State == Pending || !o.complete(region) {
			s.Percent = o.percent(name)
		}
		out = append(out, s)
	}
	return out
}

// lacks says why region's whole snapshot does not bring a database back, or "". One that was made since comes back by its
// WAL, unless something was left out: it may be a copy of that, and copies of zeros are zeros.
func (o Observation) lacks(name, region string) string {
	if o.Snapshot == nil || !o.complete(region) {
		return ""
	}
	leftOut := false
	for _, d := range o.Snapshot.Databases {
		switch {
		case d.Name == name && (!d.Replicated || slices.Contains(d.Lacking, region)):
			return "it was added after the last snapshot that is complete there: the next one includes it"
		case d.Name == name:
			return ""
		}
		leftOut = leftOut || !d.Replicated || slices.Contains(d.Lacking, region)
	}
	if leftOut {
		return "it was made after the last snapshot that is complete there: the next one includes it"
	}
	return ""
}

// current leaves out what was announced for another lineage than the current one.
func (o Observation) current() Observation {
	if o.WAL != nil && o.WAL.Lineage != o.Workspace.Lineage {
		o.WAL = nil
	}
	if o.Snapshot != nil && o.Snapshot.Lineage != o.Workspace.Lineage {
		o.Snapshot = nil
	}
	return o
}

// complete reports whether region's bucket holds a whole snapshot of the current lineage.
func (o Observation) complete(region string) bool {
	return o.Snapshot != nil && slices.Contains(o.Snapshot.Complete, region)
}

func (o Observation) state(region, lacks string) (DatabaseState, string) {
	trouble, silence := o.trouble(region), o.silence()
	if rests := o.Workspace.rests(); rests != "" {
		silence, trouble = rests, ""
	}
	switch {
	case (!o.complete(region) || lacks != "") && trouble != "" && silence == "":
		return Error, trouble
	case !o.complete(region):
		return Pending, silence
	case lacks != "" && silence != "":
		return Pending, joined(silence, lacks)
	case lacks != "":
		return Pending, lacks
	case silence != "":
		return Inactive, joined(silence, reported(trouble))
	case trouble != "":
		return Error, trouble
	}
	return Active, ""
}

// rests says why nobody ships from a workspace, or "".
func (w *Workspace) rests() string {
	switch w.State {
	case WorkspaceSuspended:
		return "the workspace is suspended: what it wrote until then is in the buckets"
	case WorkspacePending:
		return strings.TrimSpace("the workspace is being made. " + w.Reason)
	}
	return ""
}

func joined(silence, trouble string) string {
	if trouble == "" {
		return silence
	}
	return silence + "; " + trouble
}

func reported(trouble string) string {
	if trouble == "" {
		return ""
	}
	return "the last report said: " + trouble
}

// silence says that nobody has announced anything for a while, or "".
func (o Observation) silence() string {
	at := o.measuredAt()
	if at.IsZero() {
		return "no shipper has reported yet"
	}
	if age := o.Now.Sub(at); age > StaleAfter {
		return fmt.Sprintf("no shipper has reported for %s", age.Round(time.Second))
	}
	return ""
}

// measuredAt is the time of the last announcement that shows somebody at work: of the shipper, or, before the first
// snapshot is complete, of its taker.
func (o Observation) measuredAt() time.Time {
	var at time.Time
	if o.WAL != nil {
		at = o.WAL.MeasuredAt
	}
	if o.Snapshot != nil && !o.complete(o.Group.Other(o.Group.Active)) && o.Snapshot.MeasuredAt.After(at) {
		at = o.Snapshot.MeasuredAt
	}
	return at
}

// trouble says why the last announcements do not get region's bucket any further, or "".
func (o Observation) trouble(region string) string {
	if o.WAL != nil {
		if o.WAL.Error != "" {
			return o.WAL.Error
		}
		if o.WAL.Slot.WALStatus == "lost" {
			return fmt.Sprintf("the server dropped WAL that slot %s still needed (max_slot_wal_keep_size); a new snapshot is needed", o.WAL.Slot.Name)
		}
		if c := o.WAL.Cursor(region); c != nil && c.Error != "" {
			return fmt.Sprintf("bucket of region %s: %s", region, c.Error)
		}
	}
	if o.Snapshot != nil && !o.complete(region) {
		return o.Snapshot.Error
	}
	return ""
}

// replicated returns the names of the databases to report on, sorted.
func (o Observation) replicated() []string {
	chosen, all := o.Group.Replication.Chosen(o.Workspace.Name)
	names := slices.Clone(o.Databases)
	if names == nil && o.Snapshot != nil {
		for _, d := range o.Snapshot.Databases {
			if d.Replicated {
				names = append(names, d.Name)
			}
		}
	}
	if names == nil {
		names = slices.DeleteFunc(slices.Clone(chosen), func(n string) bool { return !o.meant(n) })
	}
	names = slices.DeleteFunc(names, func(n string) bool {
		return n == "template0" || n == "template1" || !all && !slices.Contains(chosen, n)
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// meant reports whether a chosen database is this workspace's for certain, though nobody has seen it there yet: its entry names
// the workspace, or there is no other.
func (o Observation) meant(name string) bool {
	return len(o.Group.Workspaces) == 1 || slices.Contains(o.Group.Replication.Databases, o.Workspace.Name+"/"+name)
}

// percent is how much of the database the first snapshot has, rounded down to a tenth and below 100 until the snapshot
// is complete.
func (o Observation) percent(name string) float64 {
	if o.Snapshot == nil {
		return 0
	}
	for _, d := range o.Snapshot.Databases {
		if d.Name == name && d.Replicated && d.TotalBytes > 0 {
			p := math.Floor(1000*float64(d.DoneBytes)/float64(d.TotalBytes)) / 10
			return min(max(p, 0), 99.9)
		}
	}
	return 0
}

func (o Observation) lag(region string) Lag {
	if o.WAL == nil {
		return Lag{}
	}
	c := o.WAL.Cursor(region)
	if c == nil {
		return Lag{MeasuredAt: o.WAL.MeasuredAt}
	}
	return Lag{Seconds: c.LagSeconds, Bytes: c.LagBytes, LSN: c.Point.RecordEnd, MeasuredAt: o.WAL.MeasuredAt}
}

// Cursor returns how far region's bucket is, or nil when the shipper said nothing of it.
func (p *WALProgress) Cursor(region string) *Cursor {
	for i := range p.Cursors {
		if p.Cursors[i].Region == region {
			return &p.Cursors[i]
		}
	}
	return nil
}
