package activities

import (
	"slices"
	"strings"
	"testing"

	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
)

// restoring makes an operation of a kind hold the group, and returns what RestoreMetadata is asked in it of a server with two databases.
func restoring(t *testing.T, w *world, kind string) (*Target, *postgres.Server, RestoreInput) {
	t.Helper()
	target, s, o := attachedServer(t, w)
	w.update(t, func(g *topology.Group) { g.Operation = &topology.OperationRef{ID: o.Operation, Kind: kind} })
	postgrestest.Exec(t, s, "postgres", "create database app")
	postgrestest.Exec(t, s, "postgres", "create sequence ours")
	postgrestest.Exec(t, s, "app", "create table orders (id bigint generated always as identity, note text); insert into orders (note) values ('a'), ('b')")
	return target, s, RestoreInput{Group: o.Group, To: "west", Operation: o.Operation, Epoch: o.Epoch, Plan: WorkspacePlan{Workspace: "main"}, Place: Place{Instance: s.InstanceDir()}}
}

func nextOrder(t *testing.T, s *postgres.Server) string {
	t.Helper()
	return postgrestest.Query(t, s, "app", "select nextval('orders_id_seq')::text")
}

// What the other side hands out after the point that it was left at is not handed out again.
func TestAFailoverMovesSequencesAheadOnce(t *testing.T) {
	w := newWorld(t)
	target, s, in := restoring(t, w, failoverKind)
	for range 2 { // the answer to the first attempt was lost
		said, err := as(t, target.RestoreMetadata, in)
		check(t, err)
		if !slices.ContainsFunc(said.Notes, func(n string) bool {
			return strings.Contains(n, "moved ahead by 100000 values") && strings.Contains(n, "2 in 2 databases")
		}) {
			t.Errorf("it is not said: %q", said.Notes)
		}
	}
	if got := nextOrder(t, s); got != "100003" {
		t.Errorf("the next order has the number %s", got)
	}
	if got := postgrestest.Query(t, s, "postgres", "select nextval('ours')::text"); got != "100001" {
		t.Errorf("a sequence that was never used hands out %s", got)
	}
	_, err := as(t, target.RestoreMetadata, in) // users are in
	check(t, err)
	if got := nextOrder(t, s); got != "100004" {
		t.Errorf("moved again: %s", got)
	}
}

// A worker that dies between two sequences goes on by what it had read, and not by where they are then.
func TestSequencesAreMovedByWhatWasReadFirst(t *testing.T) {
	w := newWorld(t)
	target, s, in := restoring(t, w, failoverKind)
	state := sequencesMoved{Gap: 100_000, Databases: map[string]metadata.SequenceMoves{}}
	check(t, state.move(t.Context(), s, in, "app")) // and dies before that is written down
	if got := nextOrder(t, s); got != "100003" {
		t.Fatalf("the next order has the number %s", got)
	}
	notes, err := target.moveSequences(t.Context(), s, in)
	check(t, err)
	if got := nextOrder(t, s); got != "100004" || !strings.Contains(strings.Join(notes, ""), "2 databases") {
		t.Errorf("the next order has the number %s, notes %q", got, notes)
	}
}

func TestSequencesStayWhereTheyAreOtherwise(t *testing.T) {
	w := newWorld(t)
	target, s, in := restoring(t, w, "Switchover")
	off := int64(0)
	for what, change := range map[string]func(*topology.Group){
		"in a planned move":    func(*topology.Group) {},
		"in another operation": func(g *topology.Group) { g.Operation = &topology.OperationRef{ID: "another", Kind: failoverKind} },
		"where it is turned off": func(g *topology.Group) {
			g.Operation, g.SequenceGap = &topology.OperationRef{ID: in.Operation, Kind: failoverKind}, &off
		},
	} {
		w.update(t, change)
		notes, err := target.moveSequences(t.Context(), s, in)
		check(t, err)
		if got := postgrestest.Query(t, s, "app", "select last_value::text from orders_id_seq"); got != "2" || len(notes) > 0 {
			t.Errorf("%s: the last order has the number %s, notes %q", what, got, notes)
		}
	}
}

// A database that nobody can get into keeps no other one from its clients.
func TestADatabaseWhoseSequencesCannotBeMovedIsNoted(t *testing.T) {
	w := newWorld(t)
	target, s, in := restoring(t, w, failoverKind)
	postgrestest.Exec(t, s, "postgres", "create database broken")
	postgrestest.Exec(t, s, "broken", "update pg_class set relfilenode = 999999 where relname = 'pg_sequence'")
	notes, err := target.moveSequences(t.Context(), s, in)
	check(t, err)
	if got := nextOrder(t, s); got != "100003" {
		t.Errorf("the next order has the number %s", got)
	}
	if len(notes) != 2 || !strings.Contains(notes[1], "needs attention: sequences of database broken were not moved ahead") {
		t.Errorf("notes %q", notes)
	}
}
