package activities

import (
	"context"
	"sync"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/snapshot"
)

// TestTwoSnapshotsAreTakenInTurn asks for a snapshot while another one is being taken: it waits, and needs none of its own when that one was
// begun after it had asked.
func TestTwoSnapshotsAreTakenInTurn(t *testing.T) {
	w, source, s := replicated(t)
	w.choose(t)
	other := postgrestest.Open(t, s, "postgres") // who takes one
	_, err := other.Exec(t.Context(), "select pg_advisory_lock(hashtextextended('smartdr snapshot prod/main', 0))")
	check(t, err)
	var both sync.WaitGroup
	var taken [2]TakeSnapshotResult
	for i := range taken {
		both.Go(func() {
			var err error
			if taken[i], err = as(t, source.TakeSnapshot, TakeSnapshotInput{SourceInput: main1}); err != nil {
				t.Error(err)
			}
		})
	}
	devtest.Until(t, "both to wait", func() bool {
		var waiting, begun int
		check(t, other.QueryRow(t.Context(), `select count(*) filter (where query like 'select pg_try_advisory_lock%' and state = 'idle'),
			(select count(*) from pg_stat_progress_basebackup) from pg_stat_activity`).Scan(&waiting, &begun))
		if begun > 0 {
			t.Fatal("a snapshot is taken beside another one")
		}
		return waiting == 2
	})
	check(t, other.Close(context.Background()))
	both.Wait()
	all, err := snapshot.List(t.Context(), w.stores["east"], "prod", "main")
	check(t, err)
	if len(all) != 1 || taken[0].ID != taken[1].ID || taken[0].Taken == taken[1].Taken {
		t.Errorf("%d snapshots were taken for two who waited: %+v", len(all), taken)
	}
	again, err := as(t, source.TakeSnapshot, TakeSnapshotInput{SourceInput: main1})
	check(t, err)
	if !again.Taken || again.ID == taken[0].ID {
		t.Errorf("who asks later gets %+v", again)
	}
}
