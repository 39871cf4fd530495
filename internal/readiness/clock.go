package readiness

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/catalog"
)

// Clocks matter in three places. Whether the serving region is alive, and whether a running operation was abandoned, is
// judged by comparing a stamp with the clock of another machine, at the narrowest within 15 s: a host that is ahead by
// that much takes a living primary for dead. "Everything flushed by then is included" is said in the shipper's time. And
// S3 refuses requests that are 15 min off. A bucket dates objects in whole seconds, and a slow request arrives late, so
// that only what lies beyond these is told from that.
const (
	aheadOfBucket  = 3 * time.Second // the stamp is later than the arrival: nothing but a clock explains it
	behindBucket   = 8 * time.Second // the catalog waits 4 s for a request, and tries again at most once meanwhile
	stampsFreshFor = time.Hour
)

// judgeClock compares each writer's clock with that of the bucket it wrote to.
func judgeClock(f Facts) item {
	const check = "clock"
	var wrong []string
	compared := 0
	for _, region := range slices.Sorted(maps.Keys(f.Buckets)) {
		for _, s := range f.Buckets[region].stamps() {
			if f.Now.Sub(s.Stored).Abs() > stampsFreshFor {
				continue
			}
			compared++
			if text := skewed(s, region); text != "" {
				wrong = append(wrong, text)
			}
		}
	}
	if err := f.Buckets[f.To].StampsErr; err != nil {
		return unknown(check, err)
	}
	slices.Sort(wrong)
	switch {
	case len(wrong) > 0:
		return warning("Set the clocks, by NTP: which side is alive is judged by them, to within 15 s.", check, "%s.", strings.Join(slices.Compact(wrong), "; "))
	case compared == 0:
		return warning("Start a worker in each region.", check, "Nobody has written anything within the last hour whose clock could be compared with a bucket's.")
	}
	return ok(check, "%d clocks agree with the buckets' to within %s.", compared, behindBucket)
}

func (b Bucket) stamps() []catalog.Stamp {
	if b.Ours == nil {
		return b.Stamps
	}
	return append(slices.Clone(b.Stamps), *b.Ours)
}

// skewed says how a writer's clock differs from the bucket's, or "".
func skewed(s catalog.Stamp, region string) string {
	ahead := s.Said.Sub(s.Stored)
	switch {
	case ahead > aheadOfBucket:
		return fmt.Sprintf("the clock of %s is %s ahead of that of the bucket of %s", s.Writer, age(ahead), region)
	case -ahead > behindBucket:
		return fmt.Sprintf("the clock of %s is %s behind that of the bucket of %s", s.Writer, age(-ahead), region)
	}
	return ""
}
