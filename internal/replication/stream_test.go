package replication_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const appName = "smartdr_test"

func connectTo(t testing.TB, src topology.Source) *replication.Conn {
	t.Helper()
	c, err := replication.Connect(devtest.Context(t), src, appName)
	postgrestest.Check(t, err)
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func connect(t testing.TB, s *postgres.Server) *replication.Conn {
	t.Helper()
	return connectTo(t, postgrestest.Source(s, "postgres", "postgres"))
}

func flushed(t testing.TB, s *postgres.Server) wal.LSN {
	t.Helper()
	lsn, err := wal.ParseLSN(postgrestest.Query(t, s, "postgres", "SELECT pg_current_wal_flush_lsn()"))
	postgrestest.Check(t, err)
	return lsn
}

func TestStreamIsTheWAL(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		ctx := devtest.Context(t)
		s := postgrestest.Start(t, bin, nil)
		c := connect(t, s)
		postgrestest.Check(t, c.CreateSlot(ctx, "dr"))
		slot, err := c.ReadSlot(ctx, "dr")
		postgrestest.Check(t, err)
		start := wal.DefaultSegmentSize.Start(slot.RestartLSN)
		stream, err := c.StartPhysical(ctx, "dr", wal.Position{Timeline: 1, LSN: start})
		postgrestest.Check(t, err)
		postgrestest.Exec(t, s, "postgres", "CREATE TABLE t AS SELECT n, repeat('x', 300) FROM generate_series(1, 100000) n; SELECT pg_switch_wal(); CREATE TABLE u()")
		end := flushed(t, s)
		got := collect(ctx, t, stream, start, end)
		compareWithFiles(t, s, 1, start, got)
		compareWithReceivewal(t, s, start, got)
	})
}

// collect receives the bytes of [start, end).
func collect(ctx context.Context, t *testing.T, stream *replication.Stream, start, end wal.LSN) []byte {
	t.Helper()
	var got []byte
	for start+wal.LSN(len(got)) < end {
		m, err := stream.Receive(ctx)
		postgrestest.Check(t, err)
		switch m := m.(type) {
		case replication.Data:
			if m.Start != start+wal.LSN(len(got)) {
				t.Fatalf("bytes from %s, want %s", m.Start, start+wal.LSN(len(got)))
			}
			if age := time.Since(m.SentAt); age < -time.Second || age > devtest.Patience {
				t.Fatalf("sent at %s, which is %s ago", m.SentAt, age)
			}
			got = append(got, m.Bytes...)
		case replication.Keepalive:
		default:
			t.Fatalf("%T", m)
		}
	}
	return got
}

func compareWithFiles(t *testing.T, s *postgres.Server, tli wal.Timeline, start wal.LSN, got []byte) {
	t.Helper()
	size := wal.DefaultSegmentSize
	for done := 0; done < len(got); {
		at := start + wal.LSN(done)
		file := postgrestest.WALFile(t, s, size.FileName(tli, at))
		n := min(len(got)-done, int(size.Next(at)-at))
		if off := int(at - size.Start(at)); !bytes.Equal(got[done:done+n], file[off:off+n]) {
			t.Fatalf("bytes from %s differ from the server's file", at)
		}
		done += n
	}
}

// compareWithReceivewal compares the first whole segment with what pg_receivewal writes.
func compareWithReceivewal(t *testing.T, s *postgres.Server, start wal.LSN, got []byte) {
	t.Helper()
	oracle := s.Bin.Path("pg_receivewal")
	if _, err := os.Stat(oracle); err != nil {
		return
	}
	dir := t.TempDir()
	next := wal.DefaultSegmentSize.Next(start)
	cmd := exec.CommandContext(t.Context(), oracle, "-h", "127.0.0.1", "-p", strconv.Itoa(s.Port), "-U", "postgres", "-S", "oracle", "-D", dir, "--endpos="+next.String())
	postgrestest.Exec(t, s, "postgres", "SELECT pg_copy_physical_replication_slot('dr', 'oracle')")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("pg_receivewal: %v: %s", err, out)
	}
	want, err := os.ReadFile(filepath.Join(dir, wal.DefaultSegmentSize.FileName(1, start)))
	postgrestest.Check(t, err)
	if !bytes.Equal(want, got[:len(want)]) {
		t.Error("pg_receivewal got other bytes")
	}
}

func TestStatusMovesTheSlot(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		ctx := devtest.Context(t)
		s := postgrestest.Start(t, bin, nil)
		c, observer := connect(t, s), connect(t, s)
		postgrestest.Check(t, c.CreateSlot(ctx, "dr"))
		slot, err := c.ReadSlot(ctx, "dr")
		postgrestest.Check(t, err)
		stream, err := c.StartPhysical(ctx, "dr", wal.Position{Timeline: 1, LSN: slot.RestartLSN})
		postgrestest.Check(t, err)
		postgrestest.Exec(t, s, "postgres", "CREATE TABLE t()")
		end := flushed(t, s)

		// Statuses from another goroutine than Receive.
		sent := make(chan error, 1)
		go func() { sent <- stream.SendStatus(ctx, end, end, true) }()
		for answered := false; !answered; {
			m, err := stream.Receive(ctx)
			postgrestest.Check(t, err)
			k, ok := m.(replication.Keepalive)
			answered = ok && k.ServerEnd >= end
		}
		postgrestest.Check(t, <-sent)
		devtest.Until(t, "the slot moves", func() bool {
			now, err := observer.ReadSlot(ctx, "dr")
			return err == nil && now.RestartLSN == end
		})
		devtest.Until(t, "pg_stat_replication to show "+appName, func() bool {
			return postgrestest.Query(t, s, "postgres", "SELECT application_name || ' ' || sync_state FROM pg_stat_replication WHERE state = 'streaming'") == appName+" async"
		})
		for _, flush := range []wal.LSN{0, end - 1} {
			if err := stream.SendStatus(ctx, end, flush, false); !fault.Is(err, fault.Invalid) {
				t.Errorf("flush %s after %s: %v", flush, end, err)
			}
		}
	})
}

// TestReceiveGoesOnAfterAnInterruption interrupts in the middle of a flood, many times.
func TestReceiveGoesOnAfterAnInterruption(t *testing.T) {
	ctx := devtest.Context(t)
	s := postgrestest.Start(t, postgrestest.Installations(t)[0], nil)
	c := connect(t, s)
	start := wal.DefaultSegmentSize.Start(flushed(t, s))
	stream, err := c.StartPhysical(ctx, "", wal.Position{Timeline: 1, LSN: start})
	postgrestest.Check(t, err)
	postgrestest.Exec(t, s, "postgres", "CREATE TABLE t AS SELECT n, repeat('x', 300) FROM generate_series(1, 100000) n")
	end := flushed(t, s)
	var got []byte
	interruptions := 0
	for start+wal.LSN(len(got)) < end {
		short, cancel := context.WithTimeout(ctx, time.Duration(interruptions%50)*time.Microsecond)
		m, err := stream.Receive(short)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			interruptions++
			continue
		}
		postgrestest.Check(t, err)
		if d, ok := m.(replication.Data); ok {
			got = append(got, d.Bytes...)
		}
	}
	if interruptions == 0 {
		t.Error("nothing was interrupted")
	}
	compareWithFiles(t, s, 1, start, got)
}

func TestRemovedWAL(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		ctx := devtest.Context(t)
		s := postgrestest.Start(t, bin, map[string]string{"min_wal_size": "32MB", "max_wal_size": "32MB", "wal_keep_size": "0", "wal_recycle": "off"})
		c := connect(t, s)
		old := wal.DefaultSegmentSize.Start(flushed(t, s))
		for range 3 {
			postgrestest.Exec(t, s, "postgres", "CREATE TABLE IF NOT EXISTS t(); DROP TABLE t; SELECT pg_switch_wal(); CHECKPOINT")
		}
		refused(t, "WAL that is gone", firstError(ctx, c, wal.Position{Timeline: 1, LSN: old}), fault.Missing)
		if _, err := c.IdentifySystem(ctx); err != nil {
			t.Errorf("the connection should still serve: %v", err)
		}
		refused(t, "beyond the server's end", firstError(ctx, c, wal.Position{Timeline: 1, LSN: flushed(t, s) + 1<<30}), fault.Diverged)
		refused(t, "a timeline it never had", firstError(ctx, c, wal.Position{Timeline: 7, LSN: old}), fault.Diverged)
	})
}

// firstError streams until something is wrong: the server finds out some of it after the stream has begun.
func firstError(ctx context.Context, c *replication.Conn, at wal.Position) error {
	stream, err := c.StartPhysical(ctx, "", at)
	for err == nil {
		_, err = stream.Receive(ctx)
	}
	return err
}

func TestShutdown(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		ctx := devtest.Context(t)
		s := postgrestest.Start(t, bin, nil)
		c := connect(t, s)
		start := flushed(t, s)
		stream, err := c.StartPhysical(ctx, "", wal.Position{Timeline: 1, LSN: start})
		postgrestest.Check(t, err)
		postgrestest.Check(t, syscall.Kill(postgrestest.PID(t, s), syscall.SIGINT))
		end := start
		for {
			m, err := stream.Receive(ctx)
			postgrestest.Check(t, err)
			if _, over := m.(replication.Shutdown); over {
				break
			}
			if d, ok := m.(replication.Data); ok {
				end = d.Start + wal.LSN(len(d.Bytes))
			}
			postgrestest.Check(t, stream.SendStatus(ctx, end, end, false))
		}
		postgrestest.Check(t, s.Stop(ctx, postgres.Fast))
		control, err := s.ControlData(ctx)
		postgrestest.Check(t, err)
		if control.State != postgres.ShutDown || end <= control.Checkpoint.LSN {
			t.Errorf("received up to %s; the shutdown checkpoint is at %s (%s)", end, control.Checkpoint.LSN, control.State)
		}
	})
}

// TestTimelineSwitch follows a standby through its promotion, and asks its old primary for what that never had.
func TestTimelineSwitch(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		ctx := devtest.Context(t)
		primary := postgrestest.Start(t, bin, nil)
		standby := postgrestest.StartStandby(t, primary)
		postgrestest.Exec(t, primary, "postgres", "CREATE TABLE t()")
		postgrestest.WaitReplayed(t, primary, standby)
		start := wal.DefaultSegmentSize.Start(flushed(t, primary))
		c := connect(t, standby)
		if system, err := c.IdentifySystem(ctx); err != nil || !system.InRecovery {
			t.Errorf("a standby: %+v, %v", system, err)
		}
		stream, err := c.StartPhysical(ctx, "", wal.Position{Timeline: 1, LSN: start})
		postgrestest.Check(t, err)
		postgrestest.Check(t, primary.Stop(ctx, postgres.Immediate))
		postgrestest.Check(t, standby.Promote(ctx))

		end := receiveSwitch(ctx, t, stream)
		checkSwitch(ctx, t, c, end)
		exactEnd(ctx, t, c, end)
		newTimeline(ctx, t, c, standby, end)

		postgrestest.Check(t, primary.Start(ctx))
		refused(t, "the old primary asked for timeline 2", firstError(ctx, connect(t, primary), wal.Position{Timeline: 2, LSN: end.Switch}), fault.Diverged)
	})
}

func receiveSwitch(ctx context.Context, t *testing.T, stream *replication.Stream) replication.EndOfTimeline {
	t.Helper()
	for {
		m, err := stream.Receive(ctx)
		postgrestest.Check(t, err)
		if end, ok := m.(replication.EndOfTimeline); ok {
			return end
		}
	}
}

func checkSwitch(ctx context.Context, t *testing.T, c *replication.Conn, end replication.EndOfTimeline) {
	t.Helper()
	text, err := c.TimelineHistory(ctx, end.Next)
	postgrestest.Check(t, err)
	history, err := wal.ParseHistory(text)
	postgrestest.Check(t, err)
	if at, ok := history.EndOf(1); !ok || at != end.Switch || end.Next != 2 {
		t.Errorf("the stream said %+v, the history %+v", end, history)
	}
	refused(t, "the old timeline past its end", firstError(ctx, c, wal.Position{Timeline: 1, LSN: end.Switch + 8}), fault.Diverged)
}

// exactEnd: asked for exactly the end of an old timeline, the server streams nothing at all.
func exactEnd(ctx context.Context, t *testing.T, c *replication.Conn, want replication.EndOfTimeline) {
	t.Helper()
	stream, err := c.StartPhysical(ctx, "", wal.Position{Timeline: 1, LSN: want.Switch})
	postgrestest.Check(t, err)
	if m, err := stream.Receive(ctx); err != nil || m != want {
		t.Errorf("from the exact end: %+v, %v; want %+v", m, err, want)
	}
	if _, err := stream.Receive(ctx); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

func newTimeline(ctx context.Context, t *testing.T, c *replication.Conn, s *postgres.Server, end replication.EndOfTimeline) {
	t.Helper()
	start := wal.DefaultSegmentSize.Start(end.Switch)
	stream, err := c.StartPhysical(ctx, "", wal.Position{Timeline: end.Next, LSN: start})
	postgrestest.Check(t, err)
	postgrestest.Exec(t, s, "postgres", "CREATE TABLE on_timeline_two()")
	compareWithFiles(t, s, end.Next, start, collect(ctx, t, stream, start, flushed(t, s)))
}
