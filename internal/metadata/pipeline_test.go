package metadata

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/smartdr/smartdr/internal/wal"
)

// A subscription runs only if its publisher answered, has the slot free and whole, and confirmed nothing that is not here.
func TestASubscriptionRunsOnlyWhereNothingIsMissing(t *testing.T) {
	lsns := rapid.Map(rapid.Uint64Range(1, 5), func(n uint64) wal.LSN { return wal.LSN(n) })
	rapid.Check(t, func(t *rapid.T) {
		p := publisher{
			why: rapid.SampledFrom([]string{"", "", "", "no answer"}).Draw(t, "why"), at: lsns.Draw(t, "at"), found: rapid.Bool().Draw(t, "found"),
			active: rapid.Bool().Draw(t, "active"), confirmed: lsns.Draw(t, "confirmed"), lost: rapid.Bool().Draw(t, "lost"),
		}
		s := standing{Subscription: Subscription{Database: "d", Name: "s", Slot: "s", Publications: []string{"p"}, Remote: lsns.Draw(t, "remote")}, publisher: p}
		s.sure = max(s.Remote, lsns.Draw(t, "sure"))
		exact := p.why == "" && p.found && !p.active && !p.lost && p.at >= s.Remote && p.confirmed <= s.sure
		v := s.judge()
		if v.Run != exact || v.Run == strings.Contains(v.Note, "needs attention") {
			t.Fatalf("%+v: %+v", s, v)
		}
		if !v.Run && !strings.Contains(v.Note, "opy its tables anew") {
			t.Fatalf("no way out: %s", v.Note)
		}
		s.unstable = []string{"t"}
		if s.judge().Run {
			t.Fatal("runs with a table between copy and stream")
		}
	})
}

func TestHowMuchIsSure(t *testing.T) {
	s := Subscription{Database: "d", Name: "s", Slot: "slot", Remote: 10}
	seen := func(known, applied wal.LSN, slot string) Pipelines {
		return Pipelines{Known: known, Timeline: 2, Subscriptions: []Subscription{{Database: "d", Name: "s", Slot: slot, Applied: applied}}}
	}
	for name, c := range map[string]struct {
		captured  Pipelines
		recovered wal.LSN
		want      wal.LSN
	}{
		"never captured":                 {Pipelines{}, 100, 10},
		"captured before what is here":   {seen(100, 50, "slot"), 100, 50},
		"captured after what is here":    {seen(101, 50, "slot"), 100, 10},
		"an older capture knows less":    {seen(20, 5, "slot"), 100, 10},
		"its own position was not known": {seen(0, 50, "slot"), 100, 10},
		"another slot since":             {seen(100, 50, "other"), 100, 10},
	} {
		if got := sureOf(s, c.captured, wal.Position{Timeline: 2, LSN: c.recovered}); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestAnotherTimelineShowsNothing(t *testing.T) {
	captured := Pipelines{Known: 100, Timeline: 1, Subscriptions: []Subscription{{Database: "d", Name: "s", Applied: 50}}}
	if got := sureOf(Subscription{Database: "d", Name: "s", Remote: 10}, captured, wal.Position{Timeline: 2, LSN: 200}); got != 10 {
		t.Errorf("what a lost timeline had applied counts: %s", got)
	}
}

func TestNotesOnSlotsJobsServersAndTriggers(t *testing.T) {
	captured := Pipelines{Slots: []LogicalSlot{
		{Name: "lost", Plugin: "pgoutput", Database: "app", Confirmed: 7}, {Name: "kept", Plugin: "x", Database: "app", Failover: true},
		{Name: "there", Database: "app"}, {Name: "gone", Database: "left out"},
	}}
	here := Pipelines{Slots: []LogicalSlot{{Name: "there"}}}
	notes := slotNotes(captured, here, 9, []string{"left out"})
	if len(notes) != 2 || !strings.Contains(notes[0], "in no base backup") || !strings.Contains(notes[1], "standbys that stream") || !strings.Contains(notes[0], "'lost', 'pgoutput'") {
		t.Errorf("slots: %q", notes)
	}
	jobs := []Job{{ID: 1, Name: "nightly", Schedule: "0 3 * * *", Database: "app", Active: true}, {ID: 2, Active: false}}
	for _, c := range []struct {
		runs      bool
		host      string
		inWorkers bool
		want      string
	}{
		{true, "localhost", false, "run here from now on"}, {false, "localhost", false, "not loaded"},
		{true, "/var/run/postgresql", false, "cron.host"}, {true, "/var/run/postgresql", true, "run here from now on"},
	} {
		if got := jobNotes(jobs, c.runs, c.host, c.inWorkers); len(got) != 1 || !strings.Contains(got[0], c.want) || !strings.Contains(got[0], "1 jobs of pg_cron: nightly") {
			t.Errorf("%+v: %q", c, got)
		}
	}
	none := slices.Concat(jobNotes(jobs[1:], true, "", false), serverNotes(nil), triggerNotes([]EventTrigger{{Name: "off"}}))
	if len(none) > 0 {
		t.Errorf("notes on nothing: %q", none)
	}
}

func TestReasonsDoNotQuoteAConnectionString(t *testing.T) {
	for _, conninfo := range []string{
		"host=127.0.0.1 port=1 dbname=x user=u password=hunter2", "password='hunter2", "postgres://u:hunter2@127.0.0.1:1/x", "postgres://u:hunter2@[::1/x",
		"host=127.0.0.1 port=x password=hunter2", "host=127.0.0.1 port=1 nosuch=hunter2", "host=nowhere.invalid password=hunter2", "hostaddr=127.0.0.1 port=1 password=hunter2 dbname=x",
	} {
		p := askPublisher(t.Context(), conninfo, "s")
		if p.why == "" || strings.Contains(p.why, "hunter2") {
			t.Errorf("%s: %q", conninfo, p.why)
		}
	}
}
