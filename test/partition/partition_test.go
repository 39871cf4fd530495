package partition_test

import (
	"testing"

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
		if c.own && !devtest.Full() {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.Env.Cuts.Isolate(c.line)
			if c.own {
				w.Env.Cuts.Own.Set(c.line)
			}
			w.WriteOn()
			w.takeOver()
			w.Env.Cuts.Heal()
			for name := range w.Old {
				w.checkPutOut(name)
				w.waitTail(name, "complete", complete)
			}
			devtest.Until(w, "the managed server, which nobody needs any more, to be stopped", func() bool {
				_, running := w.Old[estate.Managed].Running(w.Context())
				return !running
			})
			w.checkAllCommits(devenv.Primary, devenv.Secondary)
			w.checkUntouched()
			w.WaitProtected()
		})
	}
}

// checkPutOut waits until clients of an old server are put out, and tries to get in again.
func (w *world) checkPutOut(workspace string) {
	w.Helper()
	l := w.Stuck[workspace]
	devtest.Until(w, "the clients of "+workspace+" to be put out", func() bool { return len(l.Errors()) == 2 })
	l.Wait()
	server := w.Old[workspace]
	conn, err := w.Client(w.Context(), workspace, server)
	if err == nil {
		w.Errorf("the old server of %s lets clients in", workspace)
		w.Check(conn.Close(w.Context()))
	}
}

// TestOnlyTheDiskOfAPrimaryComesBack kills the servers after the partition: they are never started again, and what they had flushed is
// read from their files, of the managed one without anybody asking, of the adopted one from the folder that is given.
func TestOnlyTheDiskOfAPrimaryComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Env.Cuts.Isolate(devenv.Swallowing)
	w.Env.Cuts.Own.Set(devenv.Refusing)
	w.WriteOn()
	w.takeOver()
	west := w.Env.Regions[devenv.Primary]
	w.Check(west.Worker.Kill())
	for name, server := range w.Old {
		w.Check(server.Kill(t.Context()))
		w.Stuck[name].Wait()
	}
	w.Env.Cuts.Heal()
	w.Check(west.StartWorker(t.Context(), w.Env.Temporal))
	w.waitTail(estate.Managed, "complete", complete)
	if _, running := w.Old[estate.Managed].Running(t.Context()); running {
		t.Error("the managed server was started")
	}
	w.SmartDR("salvage", "--group", estate.Group, "--workspace", estate.Adopted, "--pg-wal", w.Old[estate.Adopted].DataDir)
	w.waitTail(estate.Adopted, "complete", complete)
	w.checkAllCommits(devenv.Primary, devenv.Secondary)
	w.checkUntouched()
}

// TestOnlyTheBucketOfAPrimaryComesBack loses the servers for good after their last WAL had reached the bucket beside them. It is copied, and
// the status says that more may have been written.
func TestOnlyTheBucketOfAPrimaryComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Env.Cuts.Isolate(devenv.Refusing)
	w.WriteOn()
	w.takeOver()
	for name, server := range w.Old {
		w.Stuck[name].Stop()
		w.WaitOwnBucket(name)
		w.Check(server.Kill(t.Context()))
	}
	w.Check(w.Env.Regions[devenv.Primary].Worker.Kill())
	w.Env.Cuts.Heal()
	for name := range w.Old {
		commits := w.Stuck[name].Commits()
		tail := w.waitTail(name, "copied", func(t topology.Tail) bool { return t.At.LSN >= commits[len(commits)-1].After })
		if tail.Complete || tail.Error == "" || tail.Commits < int64(len(commits))/2 {
			t.Errorf("the tail of %s is %+v", name, tail)
		}
	}
	w.checkAllCommits(devenv.Secondary)
	w.checkUntouched()
}
