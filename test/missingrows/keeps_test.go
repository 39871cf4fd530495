package missingrows_test

import (
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/estate"
)

// keepsWAL lets retention look through both buckets, and checks that it found out from where WAL has to stay.
func (w *world) keepsWAL() {
	w.Helper()
	w.SmartDR("retention", "run", "--group", estate.Group)
	for _, sm := range w.Status().Group.SystemManaged {
		if sm.Needs == 0 || sm.Needs > sm.Fork.LSN || !sm.Back[devenv.Primary] || !sm.Back[devenv.Secondary] {
			w.Errorf("%s was left at %s, and WAL is needed from %s on, in %v", sm.Name, sm.Fork, sm.Needs, sm.Back)
		}
	}
}
