package metadata

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/smartdr/smartdr/internal/topology"
)

// Drift lists, one by one, what the primary has and a server restored on a host would not get, or get otherwise. It decides
// nothing itself: Map, AccessOf and Compare say what a failover would do. Neither disk space nor what is only slow is drift.
func Drift(g topology.Group, w topology.Workspace, m Metadata, h Host) []topology.DriftItem {
	m.Managed = w.Managed(g.Active)
	d := &drift{w: w.Name}
	// What is in the data directory comes along; other files are the other host's.
	place := Place{Host: h, Readable: func(path string) bool { return !filepath.IsAbs(path) }}
	d.settings(m, place)
	d.rules(g, w, m, place)
	for _, p := range Compare(m, h, 0) {
		if kind, ok := driftKinds[p.Check]; ok {
			d.add(kind, p.Name, "", "", "%s", p)
		}
	}
	d.databases(g.Replication, w, m)
	d.pipelines(m)
	return d.items
}

type drift struct {
	w     string
	items []topology.DriftItem
}

func (d *drift) add(kind, name, primary, secondary, text string, args ...any) {
	d.items = append(d.items, topology.DriftItem{Workspace: d.w, Kind: kind, Name: name, Primary: primary, Secondary: secondary, Text: fmt.Sprintf(text, args...)})
}

// driftKinds are what problems of a host are called that make a restored server another one.
var driftKinds = map[string]string{
	"postgres": "version", "extensions": "extension", "libraries": "library", "locales": "locale", "collations": "collation",
}

func (d *drift) settings(m Metadata, p Place) {
	mapping := Map(m, p)
	for _, s := range mapping.Mapped {
		d.add("setting", s.Name, s.Primary, s.Here, "%s.", s.Why)
	}
	if !m.FilesKnown {
		d.add("setting", "configuration files", "", "", "Lines of the configuration files may not be read: what is not in force, or was reset, is as old as the snapshot after a failover.")
	}
	var secret []string
	for _, s := range m.FileSettings {
		if s.Redacted && !isNever(s.Name) && !slices.Contains(secret, s.Name) {
			secret = append(secret, s.Name)
			d.add("setting", s.Name, "not captured", "as in the snapshot", "Its value may be a secret, which is never captured: after a failover it is what it was when the snapshot was taken.")
		}
	}
}

func (d *drift) rules(g topology.Group, w topology.Workspace, m Metadata, p Place) {
	a, err := AccessOf(g, w, m, p)
	if err != nil {
		d.add("access rule", "pg_hba.conf", "", "nobody gets in", "%s.", err)
		return
	}
	for _, note := range a.Notes {
		d.add("access rule", note.Rule, "", "", "%s.", note.Text)
	}
}

func (d *drift) databases(r *topology.Replication, w topology.Workspace, m Metadata) {
	chosen, all := r.Chosen(w.Name)
	for _, db := range m.Databases {
		if !all && !db.Template && !slices.Contains(chosen, db.Name) && !slices.Contains(topology.SystemDatabases, db.Name) {
			d.add("database", db.Name, "there", "absent", "It was not chosen for replication.")
		}
	}
	for _, u := range m.Unlogged {
		d.add("unlogged tables", u.Database, fmt.Sprintf("%d tables", u.Tables), "empty", "WAL holds nothing of unlogged tables: they are empty after a failover.")
	}
}

func (d *drift) pipelines(m Metadata) {
	for _, name := range m.Pipelines.Enabled() {
		d.add("subscription", name, "runs", "runs once its position was compared", "What its publisher has confirmed and is not here is missed: a failover states the position.")
	}
	for _, s := range m.Pipelines.Slots {
		d.add("slot", s.Name, "there", "absent", "Logical slots are not in a copy: after a failover its reader has to begin anew, or to go on from a slot that is made there.")
	}
}
