// Package snapshot keeps base backups as chunks that are shared by content. A file of a backup is cut into chunks of
// ChunkSize; each is named by its SHA-256, compressed alone, and bundled with others into a pack object. Beside each
// pack lies its index. A manifest lists a snapshot's files with their chunks; it is put last and publishes the snapshot.
//
// The encodings (numbers are big-endian):
//
//	pack      "SDRPACK1", then zstd frames, one for each chunk, without gaps
//	index     "SDRPIDX1", uint32 count, count entries, CRC-32C of everything before it (4 bytes)
//	entry     SHA-256 of the chunk (32 bytes), uint32 offset in the pack, uint32 compressed size, uint32 raw size
//	manifest  "SDRSNAP1", uint32 length of the head, the head as JSON, CRC-32C of all before, zstd frame of the files as JSON,
//	          SHA-256 of everything before it (32 bytes)
//
// A chunk of which few pages have changed since the last snapshot is stored as a delta: the pages that differ from a base, which is a chunk that
// is stored whole. Packs of deltas have an index that begins with "SDRPIDX2" and entries that end with the base's SHA-256 (32 bytes).
// A manifest whose chunks need any has the format DeltaFormat, so that a program which does not know deltas refuses it. delta.go and
// pages.go describe what a delta is, and how the taker of a snapshot knows which pages have changed.
//
// A pack is named by the SHA-256 of its index, 32 hexadecimal digits of it. It is put before its index, so an index
// says that its pack is whole, and a pack without one is left over from a writer that died.
package snapshot

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Format is the number of the encodings above, and of a Manifest whose chunks are all stored whole; DeltaFormat that of one with deltas.
const (
	Format      = 1
	DeltaFormat = 2
)

// ChunkSize is how long chunks are, in bytes; a file's last one may be shorter. It is a multiple of every page size.
const ChunkSize = 1 << 20

// packTarget is the size in bytes at which a pack is closed.
const packTarget = 64 << 20

// Prefix returns what every key of a workspace begins with, below the root.
func Prefix(group, workspace string) string {
	return "groups/" + group + "/workspaces/" + workspace + "/"
}

func snapshotsPrefix(group, ws string) string { return Prefix(group, ws) + "snapshots/" }

func packsPrefix(group, ws string) string { return Prefix(group, ws) + "packs/" }

// ManifestKey returns the key of a snapshot's manifest, below the root.
func ManifestKey(group, ws, id string) string { return snapshotsPrefix(group, ws) + id + "/manifest" }

// PackKey returns the key of a pack, below the root.
func PackKey(group, ws, id string) string { return packsPrefix(group, ws) + id + ".pack" }

// IndexKey returns the key of a pack's index, below the root.
func IndexKey(group, ws, id string) string { return packsPrefix(group, ws) + id + ".idx" }

// PagesKey returns the key of a pack's page fingerprints, below the root. Only who takes the next snapshot reads them; a pack that was
// written before there were any, or holds only deltas, has none.
func PagesKey(group, ws, id string) string { return packsPrefix(group, ws) + id + ".pages" }

// PackKeys returns all keys of a pack in the order in which they are removed: a pack without an index does not count.
func PackKeys(group, ws, id string) []string {
	return []string{IndexKey(group, ws, id), PagesKey(group, ws, id), PackKey(group, ws, id)}
}

var idPattern = regexp.MustCompile(`^\d{8}T\d{6}Z-[0-9a-f]{4}$`)

// NewID returns an id that sorts by time, as 20261122T221000Z-3f9a: the last part is the fraction of the second, in 65,536ths.
// Of a workspace one snapshot is taken at a time, so that no two have one id.
func NewID(now time.Time) string {
	fraction := int64(now.Nanosecond()) << 16 / int64(time.Second)
	return fmt.Sprintf("%s-%04x", now.UTC().Format("20060102T150405Z"), fraction)
}

// TakenAt is when a snapshot of that id began; false for what is no id.
func TakenAt(id string) (time.Time, bool) {
	text, fraction, _ := strings.Cut(id, "-")
	t, err := time.Parse("20060102T150405Z", text)
	n, err2 := strconv.ParseUint(fraction, 16, 16)
	return t.Add(time.Duration(n) * time.Second >> 16), err == nil && err2 == nil
}

// TablespacePath returns where a tablespace's files stand in a manifest, whatever its location was.
func TablespacePath(oid uint32) string { return fmt.Sprintf("pg_tblspc/%d", oid) }
