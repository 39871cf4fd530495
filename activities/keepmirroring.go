package activities

import (
	"context"
	"time"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
)

const (
	// mirrorEvery is how soon a bucket that was away learns what was decided and announced meanwhile: an old side that still serves
	// there stops by it.
	mirrorEvery = 2 * time.Second
	// mirrorWithin is how long one attempt may take; a bucket that is away is asked again soon enough.
	mirrorWithin = 3 * time.Second
	// mirrorSeldom is how soon what trying again cannot help is tried again: a region that this worker was never told of.
	mirrorSeldom = time.Minute
)

// mirroring is what a worker remembers while it brings buckets up to date.
type mirroring struct {
	Site
	patient *catalog.Catalog     // asks a bucket that was away at once
	later   map[string]time.Time // by group: when to try again what needs somebody
}

// KeepMirroring copies what this worker decided and announced to the bucket that could not take it then, until ctx is done; at the beginning
// whatever any worker did, since one may have died in between. It needs no Temporal. Everything else that one bucket lacks is found by the
// regular look of Replication.
func KeepMirroring(ctx context.Context, s Site) {
	m := mirroring{Site: s, patient: &catalog.Catalog{Stores: s.Stores, Timeout: mirrorWithin, Log: s.Log}, later: map[string]time.Time{}}
	m.begin(ctx)
	tick := time.NewTicker(mirrorEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		m.decided(ctx)
		m.announced(ctx)
	}
}

// begin looks at all groups once.
func (m *mirroring) begin(ctx context.Context) {
	all, _, err := m.Catalog.Groups(ctx)
	if err != nil {
		m.Log.DebugContext(ctx, "which groups' buckets are behind is not known", "error", err)
	}
	for _, group := range all {
		_ = m.group(ctx, group) // the regular look goes on with what this cannot do
		if _, err := m.Catalog.Status(ctx, group, time.Now()); err != nil {
			m.Log.DebugContext(ctx, "what was announced of a group is not known", "group", group, "error", err)
		}
	}
}

// decided copies the documents of groups.
func (m *mirroring) decided(ctx context.Context) {
	for _, group := range m.Catalog.Owed() {
		if time.Now().Before(m.later[group]) {
			continue
		}
		if err := m.group(ctx, group); final(fault.KindOf(err)) {
			m.later[group] = time.Now().Add(mirrorSeldom)
		}
	}
}

func (m *mirroring) group(ctx context.Context, group string) error {
	ctx, cancel := context.WithTimeout(ctx, mirrorWithin)
	defer cancel()
	err := m.patient.Mirror(ctx, group)
	if err == nil {
		m.Catalog.Settle(group)
	} else {
		m.Log.DebugContext(ctx, "the other bucket of a group is still behind", "group", group, "error", err)
	}
	return err
}

// announced copies the announcements.
func (m *mirroring) announced(ctx context.Context) {
	if !m.Catalog.Behind() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, mirrorWithin)
	defer cancel()
	if err := m.Catalog.Repeat(ctx, m.Stores); err != nil {
		m.Log.DebugContext(ctx, "a bucket has not all that was announced", "error", err)
	}
}
