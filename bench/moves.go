package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/topology"
)

const (
	switchovers = 4  // of which a run's median is taken; even, so that the group is at home again
	movesShare  = 5  // the database of the moved group is this part of the benchmark's
	changeShare = 20 // and this part of its rows is changed in the secondary region
)

// moves is a group in use that is moved from side to side: the whole product, under a load that clients would not call heavy.
type moves struct {
	*run
	env     *devenv.Env
	in      *estate.Estate
	without float64 // seconds from the loss to the first write, without a standby
}

// measureMoves takes the time without a writer, what a failback moves, and what a standby saves.
func (r *run) measureMoves(ctx context.Context) (err error) {
	m := &moves{run: r}
	dir, err := os.MkdirTemp(r.dir, "sdrm") // short, for sockets
	if err == nil {
		err = os.Chmod(dir, 0o755) // PostgreSQL may run as another user
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.end(), os.RemoveAll(dir)) }()
	m.env, err = devenv.StartEnv(ctx, devenv.EnvOptions{Dir: filepath.Join(dir, "env"), NoUI: true, NoPrimary: true})
	if err != nil {
		return err
	}
	m.in, err = estate.New(ctx, m.env, estate.Options{Managed: true, Megabytes: int(r.sizeMB / movesShare)})
	if err != nil {
		return err
	}
	m.in.Write(ctx, 5*time.Millisecond)
	if err := m.in.WaitProtected(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{m.gaps, m.failback, m.standby} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	_, err = m.in.Verify(ctx)
	return err
}

func (m *moves) end() error {
	if m.in != nil {
		m.in.Stop()
	}
	if m.env == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return m.env.Stop(ctx)
}

// gaps measures switchovers there and back.
func (m *moves) gaps(ctx context.Context) error {
	var said, seen []float64
	for range switchovers {
		op, err := m.move(ctx, estate.Switchover)
		if err != nil {
			return err
		}
		said, seen = append(said, op.Gap.Length().Seconds()), append(seen, m.in.Gap().Seconds())
	}
	m.rec.addBeside("switchover: time without a writer", "s", median(said), "as its clients saw it", median(seen))
	return nil
}

// move carries out a planned operation under load and waits until the group can be moved again.
func (m *moves) move(ctx context.Context, kind string) (topology.Operation, error) {
	if err := m.in.Written(ctx, 20); err != nil {
		return topology.Operation{}, err
	}
	op, err := m.in.Operate(ctx, kind)
	if err == nil {
		err = m.in.Written(ctx, 20)
	}
	if err == nil {
		err = m.in.WaitMovable(ctx)
	}
	return op, err
}

// lose kills the primary region, fails over, and returns how long clients were without a writer.
func (m *moves) lose(ctx context.Context) (topology.Operation, float64, error) {
	if err := m.in.Written(ctx, 200); err != nil {
		return topology.Operation{}, 0, err
	}
	lost := time.Now()
	if err := m.in.Lose(ctx, devenv.Primary); err != nil {
		return topology.Operation{}, 0, err
	}
	op, err := m.in.Operate(ctx, estate.Failover)
	if err == nil {
		err = m.in.Written(ctx, 20)
	}
	return op, m.in.LastChange().Sub(lost).Seconds(), err
}

// failback loses the primary region, changes a part of the data, and comes home to the old data.
func (m *moves) failback(ctx context.Context) error {
	op, without, err := m.lose(ctx)
	if err != nil {
		return err
	}
	m.without = without
	if err := m.change(ctx); err != nil {
		return err
	}
	if err := m.revive(ctx); err != nil {
		return err
	}
	back, err := m.move(ctx, estate.Failback)
	if err != nil {
		return err
	}
	return m.addMoved(ctx, op, back)
}

func (m *moves) addMoved(ctx context.Context, op, back topology.Operation) error {
	moved := back.Workspaces[0].Moved
	if moved == nil {
		return fmt.Errorf("the failback says nothing of what it moved")
	}
	server, err := m.in.Server(ctx, estate.Managed)
	if err != nil {
		return err
	}
	pages, err := changedPages(server.DataDir, op.Workspaces[0].Point.RecordEnd)
	if err != nil {
		return err
	}
	m.rec.addBeside("failback: fetched for the data that lay there", "MB", float64(moved.Fetched)/mega, "changed pages, uncompressed", float64(pages.raw)/mega)
	m.rec.addBeside("failback: used again", "MB", float64(moved.Reused)/mega, "all of it", float64(moved.Bytes)/mega)
	m.rec.addBeside("failback: time without a writer", "s", back.Gap.Length().Seconds(), "as its clients saw it", m.in.Gap().Seconds())
	return nil
}

// change updates neighbouring rows, as a day's business does.
func (m *moves) change(ctx context.Context) error {
	server, err := m.in.Server(ctx, estate.Managed)
	if err != nil {
		return err
	}
	p := devenv.Postgres{Server: server}
	return p.Exec(ctx, estate.Database, fmt.Sprintf("update ballast set filler = reverse(filler) where id <= (select max(id) / %d from ballast)", changeShare))
}

func (m *moves) revive(ctx context.Context) error {
	if err := m.env.ReviveRegion(ctx, devenv.Primary); err != nil {
		return err
	}
	if err := m.in.WaitTails(ctx); err != nil {
		return err
	}
	return m.in.WaitMovable(ctx)
}

// standby loses the primary region once more, with a server that follows in the other one.
func (m *moves) standby(ctx context.Context) error {
	if _, err := m.env.SmartDR(ctx, "preprovision", "start", "--group", estate.Group, "--yes"); err != nil {
		return err
	}
	err := m.in.Until(ctx, 3*time.Minute, "a standby to follow", func(s topology.GroupStatus) bool {
		return len(s.Workspaces) == 1 && s.Workspaces[0].Standby != nil && s.Workspaces[0].Standby.Phase == "following"
	})
	if err != nil {
		return err
	}
	_, with, err := m.lose(ctx)
	m.rec.addBeside("failover with a standby: from the loss to the first write", "s", with, "without one", m.without)
	return err
}
