package activities

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
)

// sequencesFile, in an instance's folder, says where sequences are to go, and what came of it. They are moved by what was read first, however often
// that is tried, and never once the users are in.
const sequencesFile = "sequences.json"

// sequencesWithin is how long the sequences of one database may take: ten thousand take a second or two.
const sequencesWithin = time.Minute

type sequencesMoved struct {
	Gap       int64                             `json:"gap"`
	Databases map[string]metadata.SequenceMoves `json:"databases,omitempty"`
	Done      bool                              `json:"done"`
	Notes     []string                          `json:"notes,omitempty"`
}

// moveSequences moves the sequences of a server ahead that takes the place of one that may still write: keys that both hand out would
// keep rows of the one from ever being merged into the other. In a planned move nobody hands out keys any more; who restores or branches
// wants the state as it was. What goes wrong in a database is a note: clients wait.
func (t *Target) moveSequences(ctx context.Context, server *postgres.Server, in RestoreInput) ([]string, error) {
	var state sequencesMoved
	found, err := readState(in.Place.Instance, sequencesFile, &state)
	if err != nil || state.Done {
		return state.Notes, err
	}
	if !found {
		if state.Gap, err = t.gapOf(ctx, in); err != nil || state.Gap == 0 {
			return nil, err
		}
		state.Databases = map[string]metadata.SequenceMoves{}
	}
	failed, err := state.moveAll(ctx, server, in)
	if err != nil {
		return nil, err
	}
	state.Notes, state.Done = append(metadata.SequenceNotes(state.Gap, state.Databases), failed...), true
	return state.Notes, writeState(in.Place.Instance, sequencesFile, state)
}

// moveAll goes through the databases, and says of which it could not be done.
func (s *sequencesMoved) moveAll(ctx context.Context, server *postgres.Server, in RestoreInput) (failed []string, err error) {
	databases, err := metadata.OpenDatabases(ctx, server.Open)
	if err != nil {
		return nil, err
	}
	for _, name := range databases {
		err := s.move(ctx, server, in, name)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			failed = append(failed, fmt.Sprintf("needs attention: sequences of database %s were not moved ahead (%s), and may hand out keys that the other side handed out too",
				name, dsn.Redact(err.Error())))
		}
	}
	return failed, nil
}

// gapOf returns by how much sequences are moved in an operation: in a failover alone.
func (t *Target) gapOf(ctx context.Context, in RestoreInput) (int64, error) {
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return 0, err
	}
	op := loaded.Group.Operation
	if op == nil || op.ID != in.Operation || op.Kind != failoverKind {
		return 0, nil
	}
	return loaded.Group.Gap(), nil
}

// move moves the sequences of one database. Where they are to go is on disk before the first one moves.
func (s *sequencesMoved) move(ctx context.Context, server *postgres.Server, in RestoreInput, database string) error {
	moves, planned := s.Databases[database]
	if moves.Done {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, sequencesWithin)
	defer cancel()
	conn, err := server.Open(ctx, database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // every statement is its own transaction
	if !planned {
		if moves, err = s.plan(ctx, conn, in, database); err != nil {
			return err
		}
	}
	err = moves.Move(ctx, conn)
	s.Databases[database] = moves
	return err
}

func (s *sequencesMoved) plan(ctx context.Context, conn *pgx.Conn, in RestoreInput, database string) (metadata.SequenceMoves, error) {
	moves, err := metadata.PlanSequences(ctx, conn, s.Gap)
	if err != nil {
		return moves, err
	}
	s.Databases[database] = moves
	return moves, writeState(in.Place.Instance, sequencesFile, *s)
}
