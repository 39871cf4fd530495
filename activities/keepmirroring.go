package activities

import (
	"context"
	"time"

	"github.com/smartdr/smartdr/internal/catalog"
)

const (
	// mirrorEvery is how soon a bucket that was away learns what was decided meanwhile: an old side that still serves there
	// stops by it.
	mirrorEvery = 2 * time.Second
	// mirrorWithin is how long one attempt may take; a bucket that is away is asked again soon enough.
	mirrorWithin = 5 * time.Second
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
		mirrorNow(ctx, patient, s, group)
	}
	tick := time.NewTicker(mirrorEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, group := range s.Catalog.Owed() {
			mirrorNow(ctx, patient, s, group)
		}
	}
}

func mirrorNow(ctx context.Context, patient *catalog.Catalog, s Site, group string) {
	ctx, cancel := context.WithTimeout(ctx, mirrorWithin)
	defer cancel()
	if err := patient.Mirror(ctx, group); err != nil {
		s.Log.DebugContext(ctx, "the other bucket of a group is still behind", "group", group, "error", err)
		return
	}
	s.Catalog.Settle(group)
}
