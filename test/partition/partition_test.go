package partition_test

import (
	"os"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/topology"
)

func complete(t topology.Tail) bool { return t.Complete }

// TestAPrimaryThatWasCutOffComesBackWhole lets the region be reached again while its clients still write: they are put out, and
// all that they were told is found in the lineage that was left, in both buckets. SMARTDR_TEST_FULL=1 lets it be cut off the other way, too.
func TestAPrimaryThatWasCutOffComesBackWhole(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		line devenv.Line
		own  bool // its own bucket is cut off, too
	}{{"nothing answers, its own bucket does", devenv.Swallowing, false}, {"everything refuses, its own bucket too", devenv.Refusing, true}} {
		if c.own && os.Getenv("SMARTDR_TEST_FULL") != "1" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.env.Cuts.Isolate(c.line)
			if c.own {
				w.env.Cuts.Own.Set(c.line)
			}
			w.writeOn()
			w.takeOver()
			w.env.Cuts.Heal()
			for name := range w.old {
				w.checkPutOut(name)
				w.waitTail(name, "complete", complete)
			}
			w.checkAllCommits(devenv.Primary, devenv.Secondary)
			w.checkUntouched()
			check(t, w.WaitProtected(t.Context()))
		})
	}
}

// checkPutOut waits until clients of an old server are put out, and tries to get in again.
func (w *world) checkPutOut(workspace string) {
	w.t.Helper()
	l := w.stuck[workspace]
	devtest.Within(w.t, 3*time.Minute, "the clients of "+workspace+" to be put out", func() bool { return len(l.Errors()) == 2 })
	l.Wait()
	server := w.old[workspace]
	conn, err := w.Space(workspace).ConnectTo(w.t.Context(), topology.HostPort{Host: "127.0.0.1", Port: server.Port})
	if err == nil {
		w.t.Errorf("the old server of %s lets clients in", workspace)
		check(w.t, conn.Close(w.t.Context()))
	}
}

// TestOnlyTheDiskOfAPrimaryComesBack kills the servers after the partition: they are never started again, and what they had flushed is
// read from their files, of the managed one without anybody asking, of the adopted one from the folder that is given.
func TestOnlyTheDiskOfAPrimaryComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env.Cuts.Isolate(devenv.Swallowing)
	w.env.Cuts.Own.Set(devenv.Refusing)
	w.writeOn()
	w.takeOver()
	west := w.env.Regions[devenv.Primary]
	check(t, west.Worker.Kill())
	for name, server := range w.old {
		check(t, server.Kill(t.Context()))
		w.stuck[name].Wait()
	}
	w.env.Cuts.Heal()
	check(t, west.StartWorker(t.Context(), w.env.Temporal))
	w.waitTail(estate.Managed, "complete", complete)
	if _, running := w.old[estate.Managed].Running(t.Context()); running {
		t.Error("the managed server was started")
	}
	_, err := w.env.SmartDR(t.Context(), "salvage", "--group", estate.Group, "--workspace", estate.Adopted, "--pg-wal", w.old[estate.Adopted].DataDir)
	check(t, err)
	w.waitTail(estate.Adopted, "complete", complete)
	w.checkAllCommits(devenv.Primary, devenv.Secondary)
	w.checkUntouched()
}

// TestOnlyTheBucketOfAPrimaryComesBack loses the servers for good after their last WAL had reached the bucket beside them. It is copied, and
// the status says that more may have been written.
func TestOnlyTheBucketOfAPrimaryComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env.Cuts.Isolate(devenv.Refusing)
	w.writeOn()
	w.takeOver()
	for name, server := range w.old {
		w.stuck[name].Stop()
		w.waitOwnBucket(name)
		check(t, server.Kill(t.Context()))
	}
	check(t, w.env.Regions[devenv.Primary].Worker.Kill())
	w.env.Cuts.Heal()
	for name := range w.old {
		commits := w.stuck[name].Commits()
		tail := w.waitTail(name, "copied", func(t topology.Tail) bool { return t.At.LSN >= commits[len(commits)-1].After })
		if tail.Complete || tail.Error == "" || tail.Commits < int64(len(commits))/2 {
			t.Errorf("the tail of %s is %+v", name, tail)
		}
	}
	w.checkAllCommits(devenv.Secondary)
	w.checkUntouched()
}

// waitOwnBucket waits until the bucket beside an old server holds all that its clients were told.
func (w *world) waitOwnBucket(workspace string) {
	w.t.Helper()
	commits, l := w.stuck[workspace].Commits(), w.left[workspace]
	last := commits[len(commits)-1]
	a := w.archive(devenv.Primary, workspace, l.ID)
	devtest.Within(w.t, time.Minute, "the bucket beside "+workspace+" to hold what was written", func() bool {
		tip, err := a.Tip(w.t.Context(), l)
		return err == nil && tip.RecordEnd >= last.After
	})
}
