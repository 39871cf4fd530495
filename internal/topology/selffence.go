package topology

import (
	"time"

	"github.com/smartdr/smartdr/internal/fault"
)

// The bounds of SelfFenceAfter. A shorter one would fence a region for a restart of Temporal; a longer one comes after people.
const (
	leastSelfFence = 30 * time.Second
	mostSelfFence  = 24 * time.Hour
)

// ParseSelfFence reads how long a region may reach nobody before it fences itself, as "2m", in seconds; "0" is never. Errors are
// fault.Invalid.
func ParseSelfFence(text string) (seconds int, err error) {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, fault.Newf(fault.Invalid, "change group", "%q is no length of time", text).WithHint("Write it as 2m; 0 turns self-fencing off.")
	case d == 0:
		return 0, nil
	case d < leastSelfFence || d > mostSelfFence || d%time.Second != 0:
		return 0, fault.Newf(fault.Invalid, "change group", "a region cannot fence itself after %s: it is after %s to %s, in whole seconds", d, leastSelfFence, mostSelfFence).
			WithHint("Write it as 2m; 0 turns self-fencing off.")
	}
	return int(d / time.Second), nil
}
