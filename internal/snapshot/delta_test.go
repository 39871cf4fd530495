package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawChunk is one of a few pages each of which says one of a few things, or nothing, so that pages are often equal.
func drawChunk(t *rapid.T, name string) []byte {
	pages := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 2, 3}), 1, 20).Draw(t, name)
	var b []byte
	for i, p := range pages {
		b = append(b, bytes.Repeat([]byte{p * byte(i+1)}, leastPage)...)
	}
	return b[:len(b)-rapid.IntRange(0, leastPage-1).Draw(t, name+" less")]
}

func TestPatchedBasesAreTheChunk(t *testing.T) {
	d, enc := NewDecoder(1), newTightEncoder(1)
	defer d.Close()
	rapid.Check(t, func(t *rapid.T) {
		base, chunk := drawChunk(t, "base"), drawChunk(t, "chunk")
		record := newPrinter().appendRecord(nil, HashOf(base), base, leastPage)
		changed := prints{leastPage, record}.changed(chunk)
		for i := range pageCount(len(chunk), leastPage) {
			from, to := i*leastPage, min(len(chunk), (i+1)*leastPage)
			same := from < len(base) && bytes.Equal(chunk[from:to], base[from:min(len(base), from+leastPage)])
			if changed.has(i) == same {
				t.Fatalf("page %d: changed %t, the same %t", i, changed.has(i), same)
			}
		}
		raw := appendDelta(nil, chunk, leastPage, changed)
		e := Entry{Hash: sum(chunk), Raw: uint32(len(chunk)), Base: sum(base)}
		got := Resize(bytes.Clone(base), len(chunk))
		spans, err := d.Patch(enc.EncodeAll(raw, nil), e, got)
		if err != nil || !bytes.Equal(got, chunk) {
			t.Fatal(err)
		}
		for _, s := range spans {
			if s.From >= s.To || s.To > len(chunk) {
				t.Fatal(spans)
			}
		}
		altered := bytes.Clone(raw)
		altered[rapid.IntRange(0, len(raw)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		for name, stored := range map[string][]byte{
			"altered": altered, "cut": raw[:rapid.IntRange(0, len(raw)-1).Draw(t, "cut")], "altered with its checksum": signed(altered),
		} {
			got := Resize(bytes.Clone(base), len(chunk))
			_, err := d.Patch(enc.EncodeAll(stored, nil), e, got)
			if right := bytes.Equal(got, chunk) && name == "altered with its checksum"; err == nil && !right {
				t.Fatal(name + " delta was accepted")
			}
		}
	})
}

func sum(b []byte) Hash { return sha256.Sum256(b) }

// signed is a delta whose checksum is right whatever it holds.
func signed(delta []byte) []byte {
	body := delta[:len(delta)-4]
	return binary.BigEndian.AppendUint32(bytes.Clone(body), crc32.Checksum(body, castagnoli))
}

func TestPageFingerprintsAreReadAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var records []byte
		chunks := map[Hash][]byte{}
		for range rapid.IntRange(0, 4).Draw(t, "chunks") {
			c := drawChunk(t, "chunk")
			chunks[sum(c)] = c
			records = newPrinter().appendRecord(records, sum(c), c, leastPage)
		}
		b := sealPages(records, leastPage)
		all, err := parsePages(b)
		if err != nil || len(all) != len(chunks) {
			t.Fatal(err, len(all), len(chunks))
		}
		for h, c := range chunks {
			if n := all[h].changed(c).count(); n != 0 {
				t.Fatal("a chunk differs from itself in", n)
			}
		}
		damaged := bytes.Clone(b)
		damaged[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := parsePages(damaged); err == nil {
			t.Fatal("a flipped bit went unnoticed")
		}
		if _, err := parsePages(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")]); err == nil {
			t.Fatal("a part was taken for the whole")
		}
	})
}

// One index is as before there were deltas: older programs read it.
func TestIndexesOfWholeChunksAreAsEver(t *testing.T) {
	whole := Entry{Hash: Hash{1}, Offset: 8, Size: 5, Raw: 9}
	delta := Entry{Hash: Hash{2}, Offset: 13, Size: 5, Raw: 9, Base: Hash{1}}
	if b := encodeIndex([]Entry{whole}); !bytes.HasPrefix(b, []byte("SDRPIDX1")) || len(b) != 8+4+44+4 {
		t.Errorf("%q", b)
	}
	b := encodeIndex([]Entry{whole, delta})
	if got, err := decodeIndex(b); !bytes.HasPrefix(b, []byte("SDRPIDX2")) || err != nil || !slices.Equal(got, []Entry{whole, delta}) {
		t.Error(got, err)
	}
	onItself := delta
	onItself.Base = onItself.Hash
	if _, err := decodeIndex(encodeIndex([]Entry{onItself})); err == nil {
		t.Error("a delta on itself was accepted")
	}
}

func FuzzPatch(f *testing.F) {
	enc, d := newTightEncoder(1), NewDecoder(1)
	chunk := bytes.Repeat([]byte{7}, 3*leastPage)
	all := newBitmap(3)
	all.set(1)
	f.Add(appendDelta(nil, chunk, leastPage, all))
	f.Fuzz(func(t *testing.T, b []byte) {
		raw := make([]byte, 3*leastPage)
		if _, err := d.Patch(enc.EncodeAll(signed(append(b, 0, 0, 0, 0)), nil), Entry{Hash: sum(chunk), Raw: uint32(len(raw)), Base: Hash{1}}, raw); err == nil && !bytes.Equal(raw, chunk) {
			t.Error("another chunk was accepted")
		}
	})
}
