package devenv_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
)

// TestASickProcessIsStartedAgainAndAKilledOneIsNot lets a process say that it is sick until it was started a second time.
func TestASickProcessIsStartedAgainAndAKilledOneIsNot(t *testing.T) {
	t.Parallel()
	var sick atomic.Bool
	var asked atomic.Int64
	p, err := devenv.Command{
		Name: "a sleeper", Path: "/bin/sleep", Args: []string{"600"}, LogFile: filepath.Join(t.TempDir(), "log"), DieWithParent: true,
		Sick: func(context.Context) error {
			asked.Add(1)
			if sick.Load() {
				return errors.New("it sleeps")
			}
			return nil
		},
	}.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	first := p.PID()
	devtest.Until(t, "somebody to ask how it is", func() bool { return asked.Load() > 0 })
	if p.PID() != first {
		t.Fatal("it was started again though it is well")
	}
	sick.Store(true)
	devtest.Until(t, "the sick process to be started again", func() bool { return p.PID() != first })
	if devenv.Alive(first) {
		t.Error("the sick one lives on")
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	killed, seen := p.PID(), asked.Load()
	time.Sleep(5 * time.Second) // two rounds of asking
	if p.PID() != killed || devenv.Alive(killed) {
		t.Error("it came back though it was killed")
	}
	if asked.Load() > seen+1 { // one may have been under way
		t.Error("it is asked how it is though it was killed")
	}
}

// TestTemporalAnswersAfterManyCancelledRequests cancels requests in the middle of their queries, which is how a killed worker
// leaves them, and what a dev server's database connection may not survive.
func TestTemporalAnswersAfterManyCancelledRequests(t *testing.T) {
	t.Parallel()
	c, err := devtest.Temporal(t).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for ctx.Err() == nil {
				_ = askBriefly(ctx, c, time.Duration(rand.IntN(4000))*time.Microsecond)
			}
		})
	}
	all.Wait()
	devtest.Until(t, "Temporal to answer again", func() bool {
		err = askBriefly(t.Context(), c, time.Minute)
		if err != nil {
			t.Log(err)
			time.Sleep(time.Second) // it limits how often it may be asked
		}
		return err == nil
	})
}

func askBriefly(ctx context.Context, c client.Client, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := c.WorkflowService().GetClusterInfo(ctx, &workflowservice.GetClusterInfoRequest{})
	return err
}
