package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/wal"
)

// oldLine is a server that was left, with its files from before anything of what is measured was written.
type oldLine struct {
	dir    string
	old    *devenv.Postgres
	size   wal.SegmentSize
	copies []*postgres.Server
}

// oldTable has about 110 bytes in each row, and an index.
const oldTable = `create table accounts (id bigint primary key, branch int not null, balance numeric(12,2) not null, changed timestamptz not null, note text)`

func (r *run) startOldLine(ctx context.Context) (*oldLine, error) {
	o := &oldLine{dir: filepath.Join(r.scratch, "missing"), size: wal.DefaultSegmentSize}
	if err := mkdirForServer(o.dir); err != nil {
		return nil, err
	}
	settings := maps.Clone(serverSettings)
	maps.Copy(settings, map[string]string{"wal_keep_size": "20GB", "max_wal_size": "8GB"})
	var err error
	if o.old, err = devenv.StartPostgres(ctx, devenv.PostgresOptions{Dir: filepath.Join(o.dir, "old"), Major: chooseMajor(r.major), Settings: settings}); err != nil {
		return nil, err
	}
	if err = o.fill(ctx, r.rows); err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

// fill makes the table, keeps a copy of the files, and starts the server again.
func (o *oldLine) fill(ctx context.Context, rows int64) error {
	if err := o.old.Exec(ctx, "postgres", "create database bench"); err != nil {
		return err
	}
	insert := fmt.Sprintf(`insert into accounts select i, i %% 1000, i %% 7919, timestamptz '2026-11-01' + i * interval '1 second', repeat(md5(i::text), 2) from generate_series(1, %d) i`, rows)
	if err := o.old.Exec(ctx, "bench", oldTable, insert, "vacuum freeze analyze", "checkpoint"); err != nil {
		return err
	}
	if err := o.old.Stop(ctx, postgres.Fast); err != nil {
		return err
	}
	if err := copyTree(ctx, o.old.DataDir, o.base()); err != nil {
		return err
	}
	return o.old.Start(ctx)
}

func (o *oldLine) base() string { return filepath.Join(o.dir, "base") }

func copyTree(ctx context.Context, from, to string) error {
	if out, err := exec.CommandContext(ctx, "cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, out)
	}
	return nil
}

// copyAt returns a server that recovers the old line up to a position, and then does something.
func (o *oldLine) copyAt(ctx context.Context, name string, at wal.LSN, then string) (*postgres.Server, error) {
	dir := filepath.Join(o.dir, name)
	if err := mkdirForServer(dir); err != nil {
		return nil, err
	}
	port, err := devenv.FreePort()
	if err != nil {
		return nil, err
	}
	s := &postgres.Server{Bin: o.old.Bin, Account: o.old.Account, Superuser: o.old.Superuser, DieWithParent: true, DataDir: filepath.Join(dir, "data"),
		SocketDir: filepath.Join(dir, "run"), LogFile: filepath.Join(dir, "server.log"), Listen: "127.0.0.1", Port: port, Settings: maps.Clone(o.old.Settings)}
	if err := copyTree(ctx, o.base(), s.DataDir); err != nil {
		return nil, err
	}
	o.copies = append(o.copies, s)
	return s, errors.Join(s.WriteHBA(""), o.recoverTo(s, at, then))
}

func (o *oldLine) recoverTo(s *postgres.Server, at wal.LSN, then string) error {
	maps.Copy(s.Settings, map[string]string{
		"restore_command":     fmt.Sprintf(`cp "%s/pg_wal/%%f" "%%p"`, o.old.DataDir),
		"recovery_target_lsn": at.String(), "recovery_target_inclusive": "off", "recovery_target_action": then, "recovery_target_timeline": "1",
	})
	return s.WriteStandbySignal()
}

// standAt starts a copy that only reads, and waits until it stands at its position.
func (o *oldLine) standAt(ctx context.Context, s *postgres.Server, at wal.LSN) error {
	if err := s.Start(ctx); err != nil {
		return err
	}
	conn, err := s.Open(ctx, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it only asks
	for replayed := ""; replayed != at.String(); time.Sleep(5 * time.Millisecond) {
		if err := conn.QueryRow(ctx, "select pg_last_wal_replay_lsn()::text").Scan(&replayed); err != nil {
			return err
		}
	}
	return nil
}

// moveTo replays a copy on.
func (o *oldLine) moveTo(ctx context.Context, s *postgres.Server, at wal.LSN) error {
	return errors.Join(s.Stop(ctx, postgres.Immediate), o.recoverTo(s, at, "pause"), o.standAt(ctx, s, at))
}

// serveFrom starts a server that left the old line at a position.
func (o *oldLine) serveFrom(ctx context.Context, name string, fork wal.LSN) (*postgres.Server, error) {
	s, err := o.copyAt(ctx, name, fork, "promote")
	if err != nil {
		return nil, err
	}
	if err := s.Launch(ctx); err != nil {
		return nil, err
	}
	return s, errors.Join(s.WaitPromoted(ctx), s.Start(ctx))
}

// drop stops the copies and removes their files.
func (o *oldLine) drop(ctx context.Context) (err error) {
	for _, s := range o.copies {
		err = errors.Join(err, s.Kill(ctx), os.RemoveAll(s.InstanceDir()))
	}
	o.copies = nil
	return err
}

func (o *oldLine) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(o.drop(ctx), o.old.Kill(ctx), os.RemoveAll(o.dir))
}

// end returns where the last record ends that the server has written. Afterwards it does something in SQL.
func (o *oldLine) end(ctx context.Context, then string) (end wal.LSN, err error) {
	conn, err := o.old.Open(ctx, "bench")
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it only asks
	var text string
	if err := conn.QueryRow(ctx, "select pg_current_wal_insert_lsn()::text").Scan(&text); err != nil {
		return 0, err
	}
	at, err := wal.ParseLSN(text)
	if err == nil {
		_, err = conn.Exec(ctx, then)
	}
	if err == nil {
		err = o.walk(ctx, o.size.Start(at-1), at, func(r wal.Record) error { end = r.End; return nil })
	}
	if err == nil && end == 0 {
		err = fmt.Errorf("no record ends before %s", at)
	}
	return end, err
}

// walk is a missing.Walk over the files of the old server.
func (o *oldLine) walk(ctx context.Context, from, to wal.LSN, visit func(wal.Record) error) (err error) {
	scanner := wal.NewScanner(o.size)
	for at := o.size.Start(from); at < to && err == nil && ctx.Err() == nil; at = o.size.Next(at) {
		b, readErr := readUpTo(filepath.Join(o.old.DataDir, "pg_wal", o.size.FileName(1, at)), int64(min(wal.LSN(o.size), to-at)))
		if readErr != nil {
			return readErr
		}
		scanErr := scanner.Feed(at, b, func(r wal.Record) {
			if err == nil && r.Start >= from && r.End <= to {
				err = visit(r)
			}
		})
		err = errors.Join(err, scanErr)
	}
	return errors.Join(err, ctx.Err())
}

func readUpTo(path string, n int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read from
	return io.ReadAll(io.LimitReader(f, n))
}

// change changes rows in one transaction: of ten four are new, four have another balance, and two are gone. Each number of changes has other rows.
func (o *oldLine) change(ctx context.Context, rows int64, changes int) error {
	step, shift := rows/int64(changes), len(fmt.Sprint(changes))
	return o.old.Exec(ctx, "bench", "begin",
		fmt.Sprintf("insert into accounts select (select max(id) from accounts) + g, 1, 2, now(), 'new' from generate_series(1, %d) g", changes*4/10),
		fmt.Sprintf("update accounts set balance = balance + 1 where id = any(array(select g * %d - %d from generate_series(1, %d) g))", step, shift, changes*4/10),
		fmt.Sprintf("delete from accounts where id = any(array(select g * %d - %d from generate_series(%d, %d) g))", step, shift, changes*4/10+1, changes*6/10),
		"commit")
}

// seconds measures how long something takes.
func seconds(do func() error) (float64, error) {
	began := time.Now()
	err := do()
	return time.Since(began).Seconds(), err
}

func millions(n int64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/mega), ".0") + " million"
}
