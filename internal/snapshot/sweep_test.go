package snapshot_test

import (
	"bytes"
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/objectstore/objectstoretest"
	"github.com/smartdr/smartdr/internal/snapshot"
)

// Whatever becomes of files, each generation can be read to the last byte, as long as the packs are there that Needed names.
func TestEveryGenerationIsReadAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		store := objectstoretest.NewMemory()
		var all []generation
		var g generation
		content := map[string][]byte{}
		for i := range rapid.IntRange(2, 5).Draw(t, "generations") {
			for _, path := range []string{"base/1/1", "base/1/2", "global/1"} {
				content[path] = changeFile(t, content[path])
			}
			g = next(t, fmt.Sprintf("20261122T221000Z-%04x", i), g, maps.Clone(content), store)
			all = append(all, g)
		}
		keep := all[rapid.IntRange(0, len(all)-1).Draw(t, "kept first"):]
		sweep(t, store, keep)
		for _, g := range keep {
			g.reads(t, store)
		}
	})
}

// changeFile updates, extends, truncates or leaves a file, by pages or not.
func changeFile(t *rapid.T, b []byte) []byte {
	b = bytes.Clone(b)
	seed := rapid.Uint64Range(0, 1<<15).Draw(t, "seed")
	switch rapid.SampledFrom([]string{"update", "update", "extend", "truncate", "zero", "leave"}).Draw(t, "change") {
	case "update":
		for range rapid.IntRange(1, 5).Draw(t, "pages") {
			if n := len(b) / page; n > 0 {
				copy(b[rapid.IntRange(0, n-1).Draw(t, "page")*page:], noise(seed, page))
			}
		}
	case "extend":
		b = append(b, noise(seed, rapid.SampledFrom([]int{page, 30 * page, 150 * page, 100}).Draw(t, "by"))...)
	case "truncate":
		b = b[:rapid.IntRange(0, len(b)).Draw(t, "to")]
	case "zero":
		if n := len(b) / page; n > 0 {
			clear(b[rapid.IntRange(0, n-1).Draw(t, "page")*page:])
		}
	}
	return b
}

// sweep removes every pack that the generations do not need.
func sweep(t rapid.TB, store objectstore.Store, keep []generation) {
	wanted := map[snapshot.Hash]struct{}{}
	for _, g := range keep {
		maps.Copy(wanted, (&snapshot.Manifest{Files: g.files}).Wanted())
	}
	var all []snapshot.Index
	check(t, snapshot.EachIndex(ctx, store, "g", "w", func(p snapshot.Index) { all = append(all, p) }))
	needed, lacking := snapshot.Needed(wanted, all)
	if len(lacking) > 0 {
		t.Fatal("chunks are nowhere:", lacking)
	}
	for _, p := range all {
		if _, ok := needed[p.ID]; !ok {
			check(t, store.Delete(ctx, snapshot.PackKeys("g", "w", p.ID)...))
		}
	}
}
