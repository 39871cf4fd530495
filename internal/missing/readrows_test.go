package missing

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestPlacesAreAskedForInBatches(t *testing.T) {
	for _, blocks := range []int{0, 1, 99, 100, 101, 350} {
		var p Places
		var want, got []string
		for b := range blocks {
			for o := uint16(1); o <= 200; o += 2 {
				p.Add(TID{Block: 1<<32 - 2 - uint32(b), Offset: o})
				want = append(want, fmt.Sprintf("(%d,%d)", 1<<32-2-b, o))
			}
		}
		for array := range batches(&p) {
			one := strings.Split(strings.Trim(string(array), `{"}`), `","`)
			if len(one) > batchTIDs {
				t.Errorf("a batch has %d places", len(one))
			}
			got = append(got, one...)
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(want, got) {
			t.Errorf("of %d blocks: %d places were asked for instead of %d", blocks, len(got), len(want))
		}
	}
}
