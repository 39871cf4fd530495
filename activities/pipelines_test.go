package activities

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// feed is a publisher, a primary that is subscribed to it, and a copy of the primary that gets its WAL.
type feed struct {
	*Target
	publisher, primary, restored *postgres.Server
	captured                     metadata.Metadata
}

const feedSecret = "hunter2feed"

func newFeed(t *testing.T, bin postgres.Binaries) *feed {
	t.Helper()
	w := newWorld(t)
	f := &feed{Target: &Target{Site: w.Site}}
	f.publisher = postgrestest.Start(t, bin, map[string]string{"wal_level": "logical", "autovacuum": "off"})
	postgrestest.Exec(t, f.publisher, "postgres", `create table t (id int primary key); create publication p for table t; create table other (id int); insert into t values (1)`)
	f.primary = postgrestest.Start(t, bin, map[string]string{"wal_level": "logical", "autovacuum": "off", "wal_keep_size": "64MB"})
	postgrestest.Exec(t, f.primary, "postgres", `create database app`)
	postgrestest.Exec(t, f.primary, "app", `create table t (id int primary key); create publication onward for table t;
		create extension postgres_fdw; create server far foreign data wrapper postgres_fdw options (host 'far');
		create user mapping for public server far options (password '`+feedSecret+`')`)
	postgrestest.Exec(t, f.primary, "app", `select pg_create_logical_replication_slot('reader', 'pgoutput')`)
	postgrestest.Exec(t, f.primary, "app", f.subscribe())
	f.await(t, f.primary, "1")
	devtest.Until(t, "the table has joined the stream", func() bool {
		return postgrestest.Query(t, f.primary, "app", `select bool_and(srsubstate = 'r') from pg_subscription_rel`) == "true"
	})
	f.restored = f.follow(t)
	return f
}

func (f *feed) subscribe() string {
	return fmt.Sprintf(`create subscription sub connection 'host=127.0.0.1 port=%d user=postgres dbname=postgres password=%s keepalives=1 sslmode=disable' publication p`, f.publisher.Port, feedSecret)
}

// follow makes a standby on which no subscription will run.
func (f *feed) follow(t *testing.T) *postgres.Server {
	t.Helper()
	check(t, f.primary.Stop(t.Context(), postgres.Fast))
	s := postgrestest.Copy(t, f.primary)
	check(t, f.primary.Start(t.Context()))
	check(t, os.RemoveAll(filepath.Join(s.DataDir, "pg_replslot", "reader"))) // a base backup has no slots
	s.Settings["primary_conninfo"] = fmt.Sprintf("host=127.0.0.1 port=%d user=postgres", f.primary.Port)
	s.Settings[workersSetting] = "0"
	check(t, s.WriteStandbySignal())
	check(t, s.Start(t.Context()))
	check(t, s.Save())
	return s
}

// await waits until a server has these rows.
func (f *feed) await(t *testing.T, s *postgres.Server, rows string) {
	t.Helper()
	devtest.Until(t, "rows "+rows, func() bool {
		return postgrestest.Query(t, s, "app", `select string_agg(id::text, ' ' order by id) from t`) == rows
	})
}

func (f *feed) capture(t *testing.T) {
	t.Helper()
	conn := postgrestest.Open(t, f.primary, "postgres")
	defer conn.Close(t.Context())
	var err error
	f.captured, err = metadata.Capture(t.Context(), conn)
	check(t, err)
}

func (f *feed) confirmed(t *testing.T) wal.LSN {
	t.Helper()
	at, err := wal.ParseLSN(postgrestest.Query(t, f.publisher, "postgres", `select confirmed_flush_lsn from pg_replication_slots where slot_name = 'sub'`))
	check(t, err)
	return at
}

func (f *feed) released(t *testing.T) {
	t.Helper()
	devtest.Until(t, "the slot is released", func() bool {
		return postgrestest.Query(t, f.publisher, "postgres", `select active from pg_replication_slots where slot_name = 'sub'`) == "false"
	})
}

// lose kills the primary at a moment when it was captured after it had confirmed last, which the publisher's own writing
// may prevent.
func (f *feed) lose(t *testing.T) {
	t.Helper()
	for range 20 {
		devtest.Until(t, "the subscription runs", func() bool {
			return postgrestest.Query(t, f.primary, "app", `select count(latest_end_lsn) from pg_stat_subscription`) == "1"
		})
		f.capture(t)
		postgrestest.WaitReplayed(t, f.primary, f.restored)
		check(t, f.primary.Kill(t.Context()))
		f.released(t)
		if f.confirmed(t) <= f.captured.Pipelines.Subscription("app", "sub").Applied {
			return
		}
		check(t, f.primary.Start(t.Context()))
	}
	t.Fatal("the publisher never stands still")
}

func (f *feed) in(t *testing.T) RestoreInput {
	t.Helper()
	end, err := wal.ParseLSN(postgrestest.Query(t, f.restored, "postgres", `select coalesce(pg_last_wal_replay_lsn(), pg_current_wal_insert_lsn())`))
	check(t, err)
	server, err := json.Marshal(f.captured)
	check(t, err)
	check(t, f.Catalog.PutMetadata(t.Context(), "prod", "main", catalog.Metadata{Epoch: 1, CapturedAt: f.captured.CapturedAt, Server: server}))
	return RestoreInput{Group: "prod", Plan: WorkspacePlan{
		Workspace: "main", Point: topology.RecoveryPoint{At: wal.Position{Timeline: 1, LSN: end}, RecordEnd: end},
		Legs: []Leg{{Lineage: topology.Lineage{Epoch: 1}}},
	}}
}

func (f *feed) judge(t *testing.T) metadata.Verdict {
	t.Helper()
	in := f.in(t)
	verdicts, err := metadata.JudgeSubscriptions(t.Context(), f.restored.Open, f.comparable(t.Context(), in, f.captured.Pipelines), in.Plan.Point.At)
	check(t, err)
	if len(verdicts) != 1 {
		t.Fatalf("verdicts %+v", verdicts)
	}
	return verdicts[0]
}

func (f *feed) wantVerdict(t *testing.T, run bool, words ...string) {
	t.Helper()
	v := f.judge(t)
	if v.Run != run {
		t.Errorf("runs: %v, want %v: %s", v.Run, run, v.Note)
	}
	wantWords(t, v.Note, words...)
}

func wantWords(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q does not say %q", text, w)
		}
	}
	if strings.Contains(text, feedSecret) {
		t.Errorf("a secret in %q", text)
	}
}

func (f *feed) restore(t *testing.T, in RestoreInput) []string {
	t.Helper()
	server, err := postgres.Load(f.restored.InstanceDir())
	check(t, err)
	server.DieWithParent = true
	notes, err := f.restorePipelines(t.Context(), server, in, f.captured)
	check(t, err)
	wantWords(t, strings.Join(notes, "\n"))
	return notes
}

// noSecret looks into everything that was written about a capture and a restore.
func (f *feed) noSecret(t *testing.T) {
	t.Helper()
	b, err := json.Marshal(f.captured)
	check(t, err)
	wantWords(t, string(b), `"publisher":"127.0.0.1:`)
	for _, name := range []string{"instance.json", pipelinesFile} {
		b, err := os.ReadFile(f.restored.InstanceDir() + "/" + name)
		check(t, err)
		wantWords(t, string(b))
	}
}

func TestASubscriptionGoesOnExactlyWhereItStood(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		f := newFeed(t, bin)
		postgrestest.Exec(t, f.publisher, "postgres", `insert into t values (2)`)
		f.await(t, f.primary, "1 2")
		f.capture(t)
		postgrestest.WaitReplayed(t, f.primary, f.restored)
		f.wantVerdict(t, false, "is in use", "old primary", "ENABLE")
		f.lose(t)
		check(t, f.restored.Promote(t.Context()))
		check(t, f.restored.Start(t.Context()))
		f.wantVerdict(t, true, "nothing is missing, and nothing comes twice", "0/")
		check(t, f.publisher.Stop(t.Context(), postgres.Fast))
		f.wantVerdict(t, false, fmt.Sprintf("127.0.0.1:%d cannot be reached", f.publisher.Port), "ENABLE")
		check(t, f.publisher.Start(t.Context()))
		postgrestest.Exec(t, f.publisher, "postgres", `insert into t values (3)`)
		f.wantRestored(t)
	})
}

// wantRestored restores twice, as after a kill, and in between too.
func (f *feed) wantRestored(t *testing.T) {
	t.Helper()
	in := f.in(t)
	older := in
	older.Plan.Legs = []Leg{{Lineage: topology.Lineage{Epoch: 2}}}
	if f.comparable(t.Context(), in, f.captured.Pipelines).Known == 0 || f.comparable(t.Context(), older, f.captured.Pipelines).Known != 0 {
		t.Error("positions of another epoch are compared, or those of this one are not")
	}
	check(t, writeState(f.restored.InstanceDir(), pipelinesFile, resumed{Verdicts: []metadata.Verdict{f.judge(t)}})) // all that a killed attempt left
	notes := f.restore(t, in)
	wantWords(t, strings.Join(notes, "\n"), "subscription sub of database app runs again", "logical slot reader of database app is not here", "far (postgres_fdw, in app)")
	f.await(t, f.restored, "1 2 3")
	if again := f.restore(t, in); !slices.Equal(again, notes) {
		t.Errorf("a second time: %q, and at first %q", again, notes)
	}
	check(t, f.restored.Stop(t.Context(), postgres.Fast)) // an attach that is repeated starts it without workers
	check(t, f.restored.Start(t.Context()))
	if again := f.restore(t, in); !slices.Equal(again, notes) {
		t.Errorf("after a repeated attach: %q, and at first %q", again, notes)
	}
	postgrestest.Exec(t, f.publisher, "postgres", `insert into t values (4)`)
	f.await(t, f.restored, "1 2 3 4")
	f.noSecret(t)
}

func TestASubscriptionWithAGapIsDisabledAndCanBePutRight(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		f := newFeed(t, bin)
		f.capture(t)
		postgrestest.WaitReplayed(t, f.primary, f.restored)
		check(t, f.restored.Stop(t.Context(), postgres.Fast))
		f.restored.Settings["primary_conninfo"] = ""
		check(t, f.restored.Save())
		before := f.confirmed(t)
		postgrestest.Exec(t, f.publisher, "postgres", `insert into t values (2)`)
		f.await(t, f.primary, "1 2")
		devtest.Until(t, "the publisher knows", func() bool { return f.confirmed(t) > before })
		check(t, f.primary.Stop(t.Context(), postgres.Fast))
		f.released(t)
		check(t, f.restored.Start(t.Context()))
		check(t, f.restored.Promote(t.Context()))
		check(t, f.restored.Start(t.Context()))
		notes := f.restore(t, f.in(t))
		wantWords(t, notes[0], "needs attention", "is disabled", "may be missing", "ENABLE", "TRUNCATE public.t")
		if got := postgrestest.Query(t, f.restored, "app", `select subenabled || ' ' || current_setting('max_logical_replication_workers') from pg_subscription`); got != "false 4" {
			t.Errorf("enabled and workers: %s", got)
		}
		f.noSecret(t)
		f.copyAnew(t, notes[0])
		f.await(t, f.restored, "1 2")
		postgrestest.Exec(t, f.publisher, "postgres", `insert into t values (3)`)
		f.await(t, f.restored, "1 2 3")
		f.withoutSlot(t)
	})
}

// copyAnew does what a note says.
func (f *feed) copyAnew(t *testing.T, note string) {
	t.Helper()
	_, rest, found := strings.Cut(note, "opy its tables anew: on the publisher, ")
	there, here, found2 := strings.Cut(rest, " here, in database app, ")
	if !found || !found2 {
		t.Fatalf("no commands in %q", note)
	}
	for server, commands := range map[*postgres.Server]string{f.publisher: there} {
		run(t, server, "postgres", commands)
	}
	run(t, f.restored, "app", here)
}

func run(t *testing.T, s *postgres.Server, database, commands string) {
	t.Helper()
	for _, c := range strings.SplitAfter(commands, ";") {
		if c = strings.TrimSpace(c); c != "" {
			postgrestest.Exec(t, s, database, c)
		}
	}
}

// withoutSlot: the publisher has lost the slot, and the note's commands bring the subscription to run again.
func (f *feed) withoutSlot(t *testing.T) {
	t.Helper()
	check(t, f.restored.Stop(t.Context(), postgres.Fast))
	f.released(t)
	postgrestest.Exec(t, f.publisher, "postgres", `drop publication smartdr_none; select pg_drop_replication_slot('sub')`)
	f.restored.Settings[workersSetting] = "0"
	check(t, f.restored.Start(t.Context()))
	f.wantVerdict(t, false, "has no slot sub any more")
	v := f.judge(t)
	check(t, metadata.StopSubscriptions(t.Context(), f.restored.Open, []metadata.Verdict{v}))
	check(t, f.restored.Stop(t.Context(), postgres.Fast))
	delete(f.restored.Settings, workersSetting)
	check(t, f.restored.Start(t.Context()))
	f.copyAnew(t, v.Note)
	postgrestest.Exec(t, f.publisher, "postgres", `insert into t values (4)`)
	f.await(t, f.restored, "1 2 3 4")
}

// announce puts what a shipper announces of a primary whose positions were proved now into the catalog.
func (f *feed) announce(t *testing.T) topology.Applied {
	t.Helper()
	at := func(sql string) wal.LSN {
		l, err := wal.ParseLSN(postgrestest.Query(t, f.primary, "app", sql))
		check(t, err)
		return l
	}
	a := topology.Applied{Database: "app", Name: "sub", Slot: "sub", UpTo: at(`select latest_end_lsn from pg_stat_subscription where relid is null and latest_end_lsn is not null`)}
	postgrestest.Exec(t, f.primary, "app", `checkpoint`) // which flushes
	a.At = wal.Position{Timeline: 1, LSN: at(`select pg_current_wal_flush_lsn()`)}
	check(t, f.Catalog.PutWALProgress(t.Context(), "prod", "main", topology.WALProgress{Epoch: 1, Applied: []topology.Applied{a}}))
	return a
}

// TestAProofThatIsNewerThanTheCaptureLetsASubscriptionRun: the publisher wrote on its own after the capture, and the old primary
// confirmed that.
func TestAProofThatIsNewerThanTheCaptureLetsASubscriptionRun(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		f := newFeed(t, bin)
		f.capture(t)
		before := f.confirmed(t)
		postgrestest.Exec(t, f.publisher, "postgres", `insert into other select generate_series(1, 1000)`)
		devtest.Until(t, "the publisher's own WAL is confirmed", func() bool {
			return f.confirmed(t) > before && f.announce(t).UpTo >= f.confirmed(t)
		})
		postgrestest.WaitReplayed(t, f.primary, f.restored)
		check(t, f.primary.Kill(t.Context()))
		f.released(t)
		check(t, f.restored.Promote(t.Context()))
		check(t, f.restored.Start(t.Context()))
		in := f.in(t)
		announced, err := f.Catalog.WALProgress(t.Context(), "prod", "main")
		check(t, err)
		proof := announced.Applied[0]
		for what, p := range map[string]topology.WALProgress{
			"of another lineage":         {Lineage: "0001-0a0b0c0d", Epoch: 1, Applied: announced.Applied},
			"of WAL that is not here":    {Epoch: 1, Applied: []topology.Applied{{Database: "app", Name: "sub", Slot: "sub", UpTo: proof.UpTo, At: wal.Position{Timeline: 1, LSN: in.Plan.Point.RecordEnd + 1}}}},
			"of a lost timeline":         {Epoch: 1, Applied: []topology.Applied{{Database: "app", Name: "sub", Slot: "sub", UpTo: proof.UpTo, At: wal.Position{Timeline: 9, LSN: 1}}}},
			"of an earlier time":         {Epoch: 1, Applied: []topology.Applied{{Database: "app", Name: "sub", Slot: "sub", UpTo: before, At: proof.At}}},
			"of another subscription":    {Epoch: 1, Applied: []topology.Applied{{Database: "app", Name: "x", Slot: "sub", UpTo: proof.UpTo, At: proof.At}}},
			"that does not exist at all": {Epoch: 1},
		} {
			check(t, f.Catalog.PutWALProgress(t.Context(), "prod", "main", p))
			if v := f.judge(t); v.Run || !strings.Contains(v.Note, "may be missing") {
				t.Errorf("by a proof %s it runs: %s", what, v.Note)
			}
		}
		check(t, f.Catalog.PutWALProgress(t.Context(), "prod", "main", announced))
		notes := f.restore(t, in)
		wantWords(t, notes[0], "sub of database app runs again", proof.UpTo.String())
		postgrestest.Exec(t, f.publisher, "postgres", `insert into t values (2)`)
		f.await(t, f.restored, "1 2")
	})
}
