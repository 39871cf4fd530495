package verify_test

import (
	"slices"

	"github.com/smartdr/smartdr/internal/topology"
)

// damage is one kind of it, and what must be found.
type damage struct {
	name     string
	plant    func(b *bucket) (key string)
	kind     topology.FindingKind
	severity topology.Severity
	lost     []string // of what: "window 0001-000000aa", "branch early", ...
	says     []string // in the finding's words
	read     string   // default: none
	both     bool     // the other bucket is there too
	more     int      // findings beside the one
}

const (
	windowOne = "window " + first
	windowTwo = "window " + second
	early     = "branch early"
	late      = "branch late"
	managed   = "system-managed app_20261123T100000Z"
)

const (
	missing, altered, inconsistent, orphaned, unknown = topology.FindingMissing, topology.FindingAltered, topology.FindingInconsistent, topology.FindingOrphaned, topology.FindingUnknown
	lost, damaged, note                               = topology.SeverityLost, topology.SeverityDamaged, topology.SeverityNote
)

// middle is what is lost with the WAL or the snapshot before the middle of the first lineage.
var middle = []string{windowOne, early}

func damages() []damage {
	return slices.Concat(walDamages(), snapshotDamages(), otherDamages())
}

func walDamages() []damage {
	return []damage{
		{name: "a segment is missing", kind: missing, severity: lost, lost: middle, says: []string{"is in no object", "Branch early cannot"},
			plant: func(b *bucket) string { return b.lose(b.segment().Key) }},
		{name: "a segment is missing that the other bucket has", kind: missing, severity: lost, lost: middle, both: true, says: []string{"Copy it from the bucket of east"},
			plant: func(b *bucket) string { return b.lose(b.segment().Key) }},
		{name: "the last segment is missing", kind: missing, severity: lost, lost: []string{windowTwo, late}, says: []string{"progress/wal.json says"},
			plant: func(b *bucket) string { k := b.keys("wal/"+second, ".seg"); return b.lose(k[len(k)-1]) }},
		{name: "the end of a tail is missing", kind: missing, severity: lost, lost: []string{windowOne, managed}, says: []string{"tails/" + first},
			plant: func(b *bucket) string { k := b.keys("wal/"+first, ".seg"); return b.lose(k[len(k)-1]) }},
		{name: "a segment's content is altered", kind: altered, severity: lost, lost: middle, read: topology.VerifyAll,
			plant: func(b *bucket) string { return b.flip(b.segment().Key, -3) }},
		{name: "a segment's header is altered", kind: altered, severity: lost, lost: middle, says: []string{"header is damaged"},
			plant: func(b *bucket) string { return b.flip(b.segment().Key, 40) }},
		{name: "a segment is truncated", kind: altered, severity: lost, lost: middle, says: []string{"instead of"},
			plant: func(b *bucket) string { k := b.segment().Key; return b.put(k, b.get(k)[:len(b.get(k))-1]) }},
		{name: "a segment lies under a wrong key", kind: inconsistent, severity: lost, lost: middle, says: []string{"wrong key"},
			plant: func(b *bucket) string {
				e := b.segment()
				return b.put(e.Key, b.get(b.holding(first, e.Range.End).Key))
			}},
		{name: "an overlapping segment disagrees", kind: inconsistent, severity: lost, lost: middle, says: []string{"disagrees", "Remove it"},
			plant: func(b *bucket) string { return b.forge() }},
		{name: "a history file is missing", kind: missing, severity: lost, lost: []string{windowTwo, late}, says: []string{"history file is not there"},
			plant: func(b *bucket) string { return b.lose(prefix + "wal/" + second + "/00000002.history") }},
		{name: "a history file is altered", kind: altered, severity: lost, lost: []string{windowTwo, late}, both: true, says: []string{"Copy it from the bucket of east"},
			plant: func(b *bucket) string {
				return b.put(prefix+"wal/"+second+"/00000002.history", []byte("1\tnowhere\tx\n"))
			}},
		{name: "a history file says something else", kind: inconsistent, severity: lost, lost: []string{windowTwo, late}, says: []string{"does not say that timeline 2 began"},
			plant: func(b *bucket) string {
				return b.put(prefix+"wal/"+second+"/00000002.history", []byte("1\t0/1000028\tother\n"))
			}},
		{name: "a history file differs from the other bucket's", kind: inconsistent, severity: damaged, both: true, says: []string{"another content"},
			plant: func(b *bucket) string {
				k := prefix + "wal/" + second + "/00000002.history"
				return b.put(k, append([]byte("# by hand\n"), b.get(k)...))
			}},
	}
}

func snapshotDamages() []damage {
	return []damage{
		{name: "a manifest is missing", kind: missing, severity: lost, lost: middle, both: true, says: []string{"bucket of east has it", "Copy it"},
			plant: func(b *bucket) string { return b.lose(b.manifest(0)) }},
		{name: "a manifest is missing that was announced", kind: missing, severity: damaged, says: []string{"announced"},
			plant: func(b *bucket) string { return b.lose(b.manifest(2)) }},
		{name: "a manifest is altered", kind: altered, severity: damaged, says: []string{"older snapshot"},
			plant: func(b *bucket) string { return b.flip(b.manifest(1), -50) }},
		{name: "a manifest's head is altered", kind: altered, severity: lost, lost: middle,
			plant: func(b *bucket) string { return b.flip(b.manifest(0), 30) }},
		{name: "a pack is missing", kind: missing, severity: damaged, says: []string{"cannot be restored: it lacks content of", "older snapshot"},
			plant: func(b *bucket) string { return b.lose(b.pack(b.onlyOf(1), "pack")) }},
		{name: "an index is missing", kind: missing, severity: damaged, says: []string{"no chunk of it can be found"},
			plant: func(b *bucket) string { return b.lose(b.pack(b.onlyOf(1), "idx")) }},
		{name: "an index is altered", kind: altered, severity: damaged, says: []string{"index is damaged", "cannot be restored"},
			plant: func(b *bucket) string { return b.flip(b.pack(b.onlyOf(1), "idx"), 60) }},
		{name: "a pack and its index are missing", kind: missing, severity: damaged, says: []string{"are in no pack"}, both: true, more: -1, // the next snapshot may need it too
			plant: func(b *bucket) string {
				id := b.onlyOf(1)
				b.lose(b.pack(id, "idx"))
				b.lose(b.pack(id, "pack"))
				return b.manifest(1)
			}},
		{name: "a chunk is altered", kind: altered, severity: lost, read: topology.VerifyAll, lost: everything, says: []string{"chunks are damaged", "cannot be restored"},
			plant: func(b *bucket) string { pack, at := b.base(1); return b.flip(b.pack(pack, "pack"), at) }, more: -1},
		{name: "a pack is short", kind: altered, severity: damaged, says: []string{"instead of"},
			plant: func(b *bucket) string { k := b.pack(b.onlyOf(1), "pack"); return b.put(k, b.get(k)[:len(b.get(k))-10]) }},
		{name: "what deltas stand on is lost", kind: missing, severity: lost, lost: everything,
			plant: func(b *bucket) string { pack, _ := b.base(1); return b.lose(b.pack(pack, "pack")) }},
		{name: "page fingerprints are altered", kind: altered, severity: note, read: topology.VerifyAll,
			plant: func(b *bucket) string { return b.flip(b.keys("packs/", ".pages")[0], 20) }},
	}
}

func otherDamages() []damage {
	return []damage{
		{name: "the group's document is altered", kind: altered, severity: lost, lost: []string{"group "}, both: true, says: []string{"Copy it"},
			plant: func(b *bucket) string { return b.put("groups/prod/group.json", []byte("{")) }},
		{name: "an epoch's claim is missing", kind: missing, severity: damaged, plant: func(b *bucket) string { return b.lose("groups/prod/epochs/00000001.json") }},
		{name: "the marker is missing", kind: missing, severity: damaged, plant: func(b *bucket) string { return b.lose("store.json") }},
		{name: "a tail's document is altered", kind: altered, severity: damaged, plant: func(b *bucket) string { return b.put(prefix+"tails/"+first+".json", []byte("no")) }},
		{name: "the inventory's content is missing", kind: missing, severity: damaged, plant: func(b *bucket) string { return b.lose(b.keys("inventory/")[0]) }},
		{name: "the inventory's content is altered", kind: altered, severity: damaged, plant: func(b *bucket) string { return b.flip(b.keys("inventory/")[0], -1) }},
		{name: "the metadata is missing", kind: missing, severity: damaged, both: true, plant: func(b *bucket) string { return b.lose(prefix + "metadata.json") }},
		{name: "a part of what leads back from a merge is missing", kind: missing, severity: damaged, says: []string{"leads back from this merge"},
			plant: func(b *bucket) string { return b.lose(b.comparison(first, kindOfUndo)) }},
		{name: "a part of a comparison is altered", kind: altered, severity: note, read: topology.VerifyAll, says: []string{"compares again"},
			plant: func(b *bucket) string { return b.flip(b.comparison(first, kindOfSet), 2) }},
		{name: "the document of a comparison is altered", kind: altered, severity: note, says: []string{"compares again"},
			plant: func(b *bucket) string {
				b.comparison(first, kindOfSet)
				return b.put(b.keys("missing/", "set.json")[0], []byte("no"))
			}},
		{name: "a comparison of a database that is gone", kind: orphaned, severity: note, more: -1,
			plant: func(b *bucket) string { return b.comparison("0009-00000099", kindOfSet) }},
		{name: "a pack that nothing needs", kind: orphaned, severity: note, plant: plantOrphan},
		{name: "the WAL of an unknown lineage", kind: orphaned, severity: note, plant: func(b *bucket) string {
			b.put(prefix+"wal/0009-00000099/00000001/0000000001000000-0000000001000100.seg", []byte("?"))
			return prefix + "wal/0009-00000099/"
		}},
		{name: "an unknown workspace", kind: orphaned, severity: note, plant: func(b *bucket) string {
			b.put("groups/prod/workspaces/old/metadata.json", []byte(`{"format":1}`))
			return "groups/prod/workspaces/old/"
		}},
		{name: "an unknown object", kind: unknown, severity: note, plant: func(b *bucket) string { return b.put(prefix+"notes.txt", []byte("x")) }},
		{name: "an unknown object of the group", kind: unknown, severity: note, plant: func(b *bucket) string { return b.put("groups/prod/notes.txt", []byte("x")) }},
	}
}

// everything is what is lost with a chunk that all snapshots need.
var everything = []string{early, late, managed, windowOne, windowTwo}
