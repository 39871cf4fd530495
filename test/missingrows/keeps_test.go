package missingrows_test

import (
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/estate"
)

// keepsWAL lets retention look through both buckets, and checks that it found out from where WAL has to stay.
func (w *world) keepsWAL() {
	w.t.Helper()
	if _, err := w.env.SmartDR(w.t.Context(), "retention", "run", "--group", estate.Group); err != nil {
		w.t.Fatal(err)
	}
	st, err := w.Status(w.t.Context())
	check(w.t, err)
	for _, sm := range st.Group.SystemManaged {
		if sm.Needs == 0 || sm.Needs > sm.Fork.LSN || !sm.Back[devenv.Primary] || !sm.Back[devenv.Secondary] {
			w.t.Errorf("%s was left at %s, and WAL is needed from %s on, in %v", sm.Name, sm.Fork, sm.Needs, sm.Back)
		}
	}
}
