package activities

import (
	"context"
	"time"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
)

const (
	// mirrorEvery is how soon a bucket that was away learns what was decided meanwhile: an old side that still serves there
	// stops by it.
	mirrorEvery = 2 * time.Second
	// mirrorWithin is how long one attempt may take; a bucket that is away is asked again soon enough.
	mirrorWithin = 3 * time.Second
	// mirrorSeldom is how soon what trying again cannot help is tried again: a region that this worker was never told of.
	mirrorSeldom = time.Minute
)

// KeepMirroring copies what this worker decided to the bucket that could not take it then, until ctx is done; at the beginning
// whatever any worker decided, since one may have died in between. It needs no Temporal. Everything else that one bucket
// lacks is found by the regular look of Replication.
func KeepMirroring(ctx context.Context, s Site) {
	patient := &catalog.Catalog{Stores: s.Stores, Timeout: mirrorWithin, Log: s.Log} // asks a bucket that was away at once
	owed, _, err := s.Catalog.Groups(ctx)
	if err != nil {
		s.Log.DebugContext(ctx, "which groups' buckets are behind is not known", "error", err)
	}
	for _, group := range owed {
		_ = mirrorNow(ctx, patient, s, group) // the regular look goes on with what this cannot do
	}
	tick := time.NewTicker(mirrorEvery)
	defer tick.Stop()
	later := map[string]time.Time{} // when to try again what needs somebody
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, group := range s.Catalog.Owed() {
			if time.Now().Before(later[group]) {
				continue
			}
			if err := mirrorNow(ctx, patient, s, group); final(fault.KindOf(err)) {
				later[group] = time.Now().Add(mirrorSeldom)
			}
		}
	}
}

func mirrorNow(ctx context.Context, patient *catalog.Catalog, s Site, group string) error {
	ctx, cancel := context.WithTimeout(ctx, mirrorWithin)
	defer cancel()
	err := patient.Mirror(ctx, group)
	if err == nil {
		s.Catalog.Settle(group)
	} else {
		s.Log.DebugContext(ctx, "the other bucket of a group is still behind", "group", group, "error", err)
	}
	return err
}
