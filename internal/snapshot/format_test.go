package snapshot

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/smartdr/smartdr/internal/wal"
)

func entries(t *rapid.T) []Entry {
	return rapid.SliceOf(rapid.Custom(func(t *rapid.T) Entry {
		return Entry{
			Hash:   sha256.Sum256([]byte(rapid.String().Draw(t, "content"))),
			Offset: rapid.Uint32Range(8, packTarget).Draw(t, "offset"),
			Size:   rapid.Uint32Range(1, ChunkSize).Draw(t, "size"),
			Raw:    rapid.Uint32Range(1, ChunkSize).Draw(t, "raw"),
		}
	})).Draw(t, "entries")
}

func TestIndexesAreReadAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := entries(t)
		b := encodeIndex(want)
		got, err := decodeIndex(b)
		if err != nil || !cmp.Equal(append([]Entry{}, want...), got) {
			t.Fatal(err, cmp.Diff(want, got))
		}
		b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := decodeIndex(b); err == nil {
			t.Fatal("a flipped bit went unnoticed")
		}
	})
}

func manifest() *Manifest {
	return &Manifest{
		Format: Format, ID: "20261122T221000Z-3f9a", Group: "g", Workspace: "w", Lineage: "0001-0000abcd",
		Start: wal.Position{Timeline: 1, LSN: 0x2000028}, End: wal.Position{Timeline: 1, LSN: 0x2000100},
		SystemID: "7", ServerVersion: 150018, SegmentSize: wal.DefaultSegmentSize, StartedAt: time.Unix(1, 0).UTC(), CompletedAt: time.Unix(2, 0).UTC(),
		Tablespaces: []Tablespace{{OID: 16396, Location: "/far"}}, Databases: []Database{{Name: "app", OID: 16384, Replicated: true, Bytes: 5}},
		TotalBytes: 3 * ChunkSize, FileCount: 4,
		Files: []File{
			{Path: "base", Dir: true, Mode: 0o700},
			{Path: "base/16384/1", Size: ChunkSize + 1, Mode: 0o600, Chunks: Chunks{sha256.Sum256([]byte("x")), {}}},
			{Path: "base/16385/1", Size: 8192, Mode: 0o600, Omitted: true},
			{Path: "empty", Mode: 0o600, Chunks: Chunks{}},
		},
	}
}

func TestManifestsAreReadAsWritten(t *testing.T) {
	want := manifest()
	b, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeManifest(b)
	if err != nil {
		t.Fatal(err)
	}
	want.Files[3].Chunks = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for i := range b {
		damaged := bytes.Clone(b)
		damaged[i] ^= 0x20
		if _, err := decodeManifest(damaged); err == nil {
			t.Fatalf("a changed byte %d of %d went unnoticed", i, len(b))
		}
		if _, err := decodeManifest(b[:i]); err == nil {
			t.Fatalf("the first %d of %d bytes were taken for the whole", i, len(b))
		}
	}
}

func TestManifestsThatWouldLeadAstray(t *testing.T) {
	for name, spoil := range map[string]func(*Manifest){
		"above":        func(m *Manifest) { m.Files[1].Path = "../etc/passwd" },
		"absolute":     func(m *Manifest) { m.Files[1].Path = "/etc/passwd" },
		"within":       func(m *Manifest) { m.Files[1].Path = "base/../../x" },
		"itself":       func(m *Manifest) { m.Files[0].Path = "." },
		"set uid":      func(m *Manifest) { m.Files[1].Mode = 0o4755 },
		"few chunks":   func(m *Manifest) { m.Files[1].Chunks = m.Files[1].Chunks[:1] },
		"negative":     func(m *Manifest) { m.Files[3].Size = -1 },
		"newer format": func(m *Manifest) { m.Format = DeltaFormat + 1 },
	} {
		m := manifest()
		spoil(m)
		b, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeManifest(b); err == nil {
			t.Error(name + " was accepted")
		}
	}
}

func TestDatabaseOf(t *testing.T) {
	for path, want := range map[string]uint32{
		"base/16384/2619":  16384,
		"base/16384":       0,
		"base/pgsql_tmp/x": 0,
		"global/1262":      0,
		"PG_VERSION":       0,
		"pg_tblspc/16396/PG_15_202209061/16384/16397":    16384,
		"pg_tblspc/16396/PG_15_202209061/16384":          0,
		"pg_tblspc/16396/PG_15_202209061/pgsql_tmp/x":    0,
		"pg_tblspc/16396/PG_15_202209061/99999999999/16": 0,
	} {
		if got := DatabaseOf(path); got != want {
			t.Errorf("%s belongs to %d, want %d", path, got, want)
		}
	}
}

func TestAllZeros(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := make([]byte, rapid.IntRange(0, 20000).Draw(t, "n"))
		if !AllZeros(b) || !HashOf(b).IsZero() {
			t.Fatal("zeros are not seen")
		}
		if len(b) == 0 {
			return
		}
		b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] = 1
		if AllZeros(b) || HashOf(b) != sha256.Sum256(b) {
			t.Fatal("a byte is not seen")
		}
	})
}

func TestNewID(t *testing.T) {
	id := NewID(time.Date(2026, 11, 22, 22, 10, 0, 0, time.FixedZone("", 3600)))
	if !idPattern.MatchString(id) || !strings.HasPrefix(id, "20261122T211000Z-") {
		t.Error(id)
	}
	second := time.Date(2026, 11, 22, 22, 10, 0, 0, time.UTC)
	var ids []string
	for _, later := range []time.Duration{0, 100 * time.Microsecond, 400 * time.Millisecond, time.Second - 1, time.Second} {
		ids = append(ids, NewID(second.Add(later)))
	}
	if !slices.IsSorted(ids) || len(slices.Compact(ids)) != 5 || !idPattern.MatchString(ids[3]) {
		t.Errorf("snapshots of one second are not in their order: %q", ids)
	}
}

func TestDecoderRefusesWhatIsNotTheChunk(t *testing.T) {
	raw := bytes.Repeat([]byte("page "), 1000)
	c := newEncoder(1).EncodeAll(raw, nil)
	d := NewDecoder(1)
	defer d.Close()
	if got, err := d.Decode(c, HashOf(raw), len(raw), nil); err != nil || !bytes.Equal(got, raw) {
		t.Fatal(err)
	}
	for name, try := range map[string]func() error{
		"other name": func() error { _, err := d.Decode(c, HashOf(raw[1:]), len(raw), nil); return err },
		"too short":  func() error { _, err := d.Decode(c, HashOf(raw), len(raw)-1, nil); return err },
		"too long":   func() error { _, err := d.Decode(c, HashOf(raw), len(raw)+1, nil); return err },
		"truncated":  func() error { _, err := d.Decode(c[:len(c)-1], HashOf(raw), len(raw), nil); return err },
	} {
		if try() == nil {
			t.Error(name + " was accepted")
		}
	}
}

func FuzzDecodeIndex(f *testing.F) {
	f.Add(encodeIndex([]Entry{{Hash: Hash{1}, Offset: 8, Size: 5, Raw: 9}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeIndex(b)
		if err == nil && !bytes.Equal(encodeIndex(got), b) {
			t.Error("two indexes read the same")
		}
	})
}

func FuzzDecodeManifest(f *testing.F) {
	b, _ := manifest().encode()
	f.Add(b)
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = decodeManifest(b) })
}
