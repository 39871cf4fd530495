// Package verify_test checks the buckets of a group that is being written, branched and snapshotted, by the command line alone, and damages them.
package verify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type world struct {
	t   *testing.T
	env *devenv.Env
}

func newWorld(t *testing.T) *world {
	t.Helper()
	majors, err := devenv.Majors()
	check(t, err)
	env, err := devenv.StartEnv(t.Context(), devenv.EnvOptions{Dir: filepath.Join(devtest.Dir(t), "env"), NoUI: true, Major: majors[len(majors)-1]})
	check(t, err)
	t.Cleanup(func() { devtest.End(t, env) })
	w := &world{t, env}
	check(t, env.Server.Exec(t.Context(), "postgres", "create database app"))
	check(t, env.Server.Exec(t.Context(), "app", "create table orders (n int primary key, note text)"))
	w.smartdr("group", "create", "-f", env.GroupPath())
	w.smartdr("configure", "--group", devenv.GroupName, "--secondary", devenv.Secondary, "--wait", "--timeout", devtest.Patience.String())
	return w
}

func (w *world) smartdr(args ...string) string {
	w.t.Helper()
	out, err := w.env.SmartDR(w.t.Context(), args...)
	check(w.t, err)
	return out
}

// verify checks and returns the accounts, and the exit code.
func (w *world) verify(args ...string) (r workflows.VerifyResult, code int) {
	w.t.Helper()
	out, err := w.env.SmartDR(w.t.Context(), append([]string{"verify", "--group", devenv.GroupName, "-o", "json"}, args...)...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code, err = exit.ExitCode(), nil
	}
	check(w.t, err)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		w.t.Fatalf("%v: exit code %d, %s", err, code, out)
	}
	return r, code
}

// whole fails for every finding.
func (w *world) whole(args ...string) {
	w.t.Helper()
	r, code := w.verify(args...)
	if code != 0 {
		w.t.Errorf("exit code %d", code)
	}
	for _, v := range r.Regions {
		for _, f := range v.Findings {
			w.t.Errorf("%s: %+v", v.Region, f)
		}
		w.t.Logf("%s: %d objects, read %d, %d bytes: %s %v", v.Region, v.Objects, v.ReadObjects, v.ReadBytes, v.Error, v.Notes)
	}
}

// load writes until it is told to stop.
func (w *world) load() (stop func()) {
	done, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			select {
			case <-over:
				return
			default:
			}
			if err := w.env.Server.Exec(w.t.Context(), "app", fmt.Sprintf("insert into orders values (%d, repeat(md5('%d'), 20))", n, n)); err != nil {
				w.t.Error(err)
				return
			}
		}
	}()
	stop = sync.OnceFunc(func() { close(over); <-done })
	w.t.Cleanup(stop)
	return stop
}

// store is a region's bucket.
func (w *world) store(region string) objectstore.Store {
	return objectstore.Sub(devtest.Open(w.t, w.env.Regions[region].Gateway), objectstore.Root)
}

// aSegment returns one in the midst of the WAL in a region's bucket.
func (w *world) aSegment(region string) string {
	w.t.Helper()
	var keys []string
	for info, err := range w.store(region).List(w.t.Context(), "groups/"+devenv.GroupName+"/", "") {
		check(w.t, err)
		if strings.HasSuffix(info.Key, ".seg") {
			keys = append(keys, info.Key)
		}
	}
	if len(keys) < 3 {
		w.t.Fatalf("there are %d segments", len(keys))
	}
	return keys[len(keys)-2]
}

// A group that is written, snapshotted and branched meanwhile gives no finding, whoever looks. A segment that is taken away is found, what is lost with it
// is said, by workers and without them, and it is put back from what the other bucket has.
func TestVerify(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stop := w.load()
	w.smartdr("snapshot", "take", "--group", devenv.GroupName)
	w.smartdr("branch", "create", "tryout", "--group", devenv.GroupName, "--region", devenv.Secondary)
	for _, how := range [][]string{{"--read", "none"}, {"--read", "all"}, {"--local"}, {"--local", "--read", "all", "--region", devenv.Secondary}} {
		w.whole(how...)
	}
	stop()
	w.lose()
	w.killed()
}

// lose takes a segment away, and puts it back.
func (w *world) lose() {
	t := w.t
	store := w.store(devenv.Secondary)
	key := w.aSegment(devenv.Secondary)
	body, _, err := store.Get(t.Context(), key)
	check(t, err)
	check(t, store.Delete(t.Context(), key))
	for _, how := range [][]string{{}, {"--local"}} {
		r, code := w.verify(append(how, "--region", devenv.Secondary)...)
		if code != 10 || len(r.Regions) != 1 || len(r.Regions[0].Lost) == 0 || len(r.Regions[0].Findings) != 1 {
			t.Errorf("%v: exit code %d, %+v", how, code, r)
			continue
		}
		f := r.Regions[0].Findings[0]
		t.Logf("%+v", f)
		if f.Key != key || f.Kind != topology.FindingMissing || !strings.Contains(f.Repair, "Copy it from the bucket of "+devenv.Primary) {
			t.Errorf("%s was taken away, and found was %+v", key, f)
		}
	}
	var kept topology.Verified
	b, _, err := store.Get(t.Context(), "groups/"+devenv.GroupName+"/verify/"+devenv.Secondary+".json")
	check(t, err)
	check(t, json.Unmarshal(b, &kept))
	if len(kept.Lost) == 0 || len(kept.Findings) != 1 || kept.EndedAt.IsZero() {
		t.Errorf("the bucket keeps %+v", kept)
	}
	_, err = store.Put(t.Context(), key, body, objectstore.PutOptions{})
	check(t, err)
	w.whole("--region", devenv.Secondary)
}

// killed checks everything, and kills the workers as soon as they have begun.
func (w *world) killed() {
	t := w.t
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	struck := make(chan error, 1)
	go devtest.EachActivity(ctx, w.env.Temporal, workflows.VerifyID(devenv.GroupName, "all"), func(activity string) {
		if activity == "VerifyBucket" {
			struck <- w.strike()
		}
	})
	w.whole("--read", "all")
	check(t, <-struck)
}

func (w *world) strike() error {
	for _, r := range w.env.Regions {
		if err := r.Worker.Kill(); err != nil {
			return err
		}
	}
	for _, r := range w.env.Regions {
		if err := r.StartWorker(w.t.Context(), w.env.Temporal); err != nil {
			return err
		}
	}
	return nil
}
