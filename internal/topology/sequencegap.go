package topology

import "github.com/smartdr/smartdr/internal/fault"

// DefaultSequenceGap is by how many values sequences are moved ahead in a failover where nothing else was chosen.
const DefaultSequenceGap = 100_000

// mostSequenceGap keeps a slip of the keyboard from using up the keys of a table: it is more than a server hands out in an hour.
const mostSequenceGap = 1_000_000_000

// Gap is by how many values the sequences of a new primary are moved ahead in a failover; 0: not at all.
func (g *Group) Gap() int64 {
	if g.SequenceGap == nil {
		return DefaultSequenceGap
	}
	return *g.SequenceGap
}

// CheckSequenceGap refuses what is no SequenceGap, with fault.Invalid; nil is the default.
func CheckSequenceGap(gap *int64) error {
	if gap == nil || *gap >= 0 && *gap <= mostSequenceGap {
		return nil
	}
	return fault.Newf(fault.Invalid, "change group", "sequences cannot be moved ahead by %d values: it is by 0 to %d", *gap, mostSequenceGap).
		WithHint("The default is %d; 0 leaves sequences as they are.", DefaultSequenceGap)
}
