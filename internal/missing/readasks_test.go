package missing

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestPlacesAreReadInRangesWhereMuchIsWanted(t *testing.T) {
	dense := offsetsTo(100)
	for _, c := range []struct {
		name    string
		blocks  map[uint32][]uint16
		perPage float64
		want    string
	}{
		{"single rows", map[uint32][]uint16{1: {3}, 9: {1, 2}}, 0, "3 places"},
		{"a long run", blocks(5, 40, dense), 100, "5-45"},
		{"a short run", blocks(5, 4, dense), 100, "400 places"},
		{"runs apart", merged(blocks(5, 20, dense), blocks(26, 20, dense)), 100, "5-25, 26-46"},
		{"a run that is interrupted by little", merged(blocks(5, 20, dense), blocks(25, 1, []uint16{7}), blocks(26, 20, dense)), 100, "5-25, 26-46, 1 places"},
		{"few rows of many", blocks(0, 100, offsetsTo(20)), 100, "2000 places"},
		{"a very long run", blocks(0, 5000, offsetsTo(9)), 9, "0-4096, 4096-5000"},
		{"many places", blocks(0, 2001, offsetsTo(7)), 100, "10003 places, 4004 places"},
		{"the last block", blocks(1<<32-17, 17, dense), 100, "4294967279-4294967296"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.Join(split(t, c.blocks, c.perPage), ", "); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func offsetsTo(n uint16) (all []uint16) {
	for o := uint16(1); o <= n; o++ {
		all = append(all, o)
	}
	return all
}

func blocks(first uint32, n int, offsets []uint16) map[uint32][]uint16 {
	all := map[uint32][]uint16{}
	for i := range n {
		all[first+uint32(i)] = offsets
	}
	return all
}

func merged(all ...map[uint32][]uint16) map[uint32][]uint16 {
	out := map[uint32][]uint16{}
	for _, m := range all {
		maps.Copy(out, m)
	}
	return out
}

// split says what is asked for, and fails the test when that is not what is wanted.
func split(t *testing.T, places map[uint32][]uint16, perPage float64) (all []string) {
	t.Helper()
	var got []string
	in := func(yield func(uint32, []uint16) bool) {
		for _, b := range slices.Sorted(maps.Keys(places)) {
			if !yield(b, places[b]) {
				return
			}
		}
	}
	for a := range asks(in, perPage) {
		where, _, wanted := a.condition()
		if a.run == nil {
			all = append(all, fmt.Sprintf("%d places", a.tids.n))
			got = append(got, strings.Split(strings.Trim(string(a.tids.text()), `{"}`), `","`)...)
			continue
		}
		end := uint64(a.first) + uint64(len(a.run))
		all = append(all, fmt.Sprintf("%d-%d", a.first, end))
		if ends := strings.Contains(where, fmt.Sprintf("< '(%d,0)'", end)); ends != (end < 1<<32) {
			t.Errorf("the range to block %d is read by%s", end, where)
		}
		for i := range a.run {
			for o := uint16(1); o < 320; o++ {
				if at := (TID{a.first + uint32(i), o}); wanted(at) {
					got = append(got, fmt.Sprintf("(%d,%d)", at.Block, at.Offset))
				}
			}
		}
	}
	var want []string
	for b, offsets := range places {
		for _, o := range offsets {
			want = append(want, fmt.Sprintf("(%d,%d)", b, o))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d places are wanted, and %d others are read", len(want), len(got))
	}
	return all
}
