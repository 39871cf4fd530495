package catalog

import (
	"context"
	"fmt"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

func claimBy(op string, e topology.Epoch) Claim {
	return Claim{Group: "prod", Epoch: e, Region: "west", Operation: op, Claimant: "test"}
}

func TestOneOf16ClaimantsWins(t *testing.T) {
	w := configured(t)
	for _, asked := range []topology.Epoch{2, 0} {
		t.Run(fmt.Sprint("asked for ", asked), func(t *testing.T) {
			before := must(w.NewestEpoch(t.Context(), "prod"))(t)
			start := make(chan struct{})
			var wins atomic.Int64
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					<-start
					won, err := w.process().ClaimEpoch(t.Context(), claimBy(fmt.Sprintf("op-%d-%d", asked, i), before+1))
					switch {
					case err == nil && won.Epoch == before+1:
						wins.Add(1)
					case !fault.Is(err, fault.Conflict):
						t.Errorf("%+v, %v", won, err)
					}
				})
			}
			close(start)
			wg.Wait()
			if wins.Load() != 1 {
				t.Errorf("%d claimants won", wins.Load())
			}
		})
	}
}

func TestClaimsAreIdempotentByOperation(t *testing.T) {
	w := configured(t)
	first := must(w.ClaimEpoch(t.Context(), claimBy("a", 0)))(t)
	again := must(w.process().ClaimEpoch(t.Context(), claimBy("a", 0)))(t)
	if diff := cmp.Diff(first, again); diff != "" || first.Epoch != 2 {
		t.Errorf("epoch %d:\n%s", first.Epoch, diff)
	}
	_, err := w.ClaimEpoch(t.Context(), claimBy("b", 2))
	wantKind(t, err, fault.Conflict, "operation a", "west")
	if b := must(w.ClaimEpoch(t.Context(), claimBy("b", 0)))(t); b.Epoch != 3 {
		t.Errorf("the next operation claimed epoch %d", b.Epoch)
	}
	_, err = w.ClaimEpoch(t.Context(), claimBy("a", 0))
	wantKind(t, err, fault.Fenced, "epoch 2", "3")
	_, err = w.ClaimEpoch(t.Context(), claimBy("c", 9))
	wantKind(t, err, fault.Invalid, "newest is 3")
}

func TestManyClaimsOfOneOperationAreOne(t *testing.T) {
	w := configured(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if won, err := w.process().ClaimEpoch(t.Context(), claimBy("a", 2)); err != nil || won.Epoch != 2 {
				t.Errorf("%+v, %v", won, err)
			}
		})
	}
	wg.Wait()
	if e := must(w.NewestEpoch(t.Context(), "prod"))(t); e != 2 {
		t.Errorf("epoch %d is the newest", e)
	}
}

func TestALostAnswerIsNoLostClaim(t *testing.T) {
	w := configured(t)
	w.faults["west"].Add(objectstore.Rule{Ops: objectstore.OpPut, LoseAck: true, Times: 1})
	_, err := w.ClaimEpoch(t.Context(), claimBy("a", 0))
	wantKind(t, err, fault.Transient)
	if won := must(w.ClaimEpoch(t.Context(), claimBy("a", 0)))(t); won.Epoch != 2 {
		t.Errorf("the second attempt claimed epoch %d", won.Epoch)
	}
}

func TestClaimAndCheckWithTheOldRegionDead(t *testing.T) {
	w := configured(t)
	if err := w.CheckEpoch(t.Context(), "prod", 1); err != nil {
		t.Fatal(err)
	}
	revive := w.kill("east")
	must(w.ClaimEpoch(t.Context(), claimBy("failover", 0)))(t)
	must(w.ClaimEpoch(t.Context(), claimBy("failover-2", 0)))(t)
	wantKind(t, w.CheckEpoch(t.Context(), "prod", 1), fault.Fenced, "failover", "west")
	if err := w.CheckEpoch(t.Context(), "prod", 3); err != nil {
		t.Errorf("the holder is fenced: %v", err)
	}
	revive()
	// The old side sees its own bucket only: it learns of the epochs once they are copied there.
	kill := w.kill("west")
	if err := w.process().CheckEpoch(t.Context(), "prod", 1); err != nil {
		t.Errorf("nothing was copied yet: %v", err)
	}
	kill()
	if err := w.Mirror(t.Context(), "prod"); err != nil {
		t.Fatal(err)
	}
	w.kill("west")
	wantKind(t, w.process().CheckEpoch(t.Context(), "prod", 1), fault.Fenced)
	w.kill("east")
	wantKind(t, w.CheckEpoch(t.Context(), "prod", 1), fault.Transient)
}

func TestAClaimWhileTheAuthorityMoves(t *testing.T) {
	for range 5 {
		w := configured(t)
		start := make(chan struct{})
		var wins atomic.Int64
		var wg sync.WaitGroup
		wg.Go(func() {
			<-start
			for i, to := range []string{"east", "west", "east", "west"} {
				if _, err := w.process().MoveAuthority(t.Context(), "prod", to, nil); err != nil {
					t.Errorf("move %d: %v", i, err)
				}
			}
		})
		for i := range 6 {
			wg.Go(func() {
				<-start
				time.Sleep(time.Duration(i) * 3 * time.Millisecond) // spreads the claims over the moves
				_, err := w.process().ClaimEpoch(t.Context(), claimBy(fmt.Sprint("op", i), 2))
				if err == nil {
					wins.Add(1)
				} else if !fault.Is(err, fault.Conflict) {
					t.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
		if wins.Load() != 1 {
			t.Fatalf("%d claimants won", wins.Load())
		}
	}
}

func TestAClaimThatComesTooLateForTheMoveIsMadeAgain(t *testing.T) {
	w := configured(t)
	decision := regexp.MustCompile(`/group\.json$`)
	w.faults["west"].Add(objectstore.Rule{Ops: objectstore.OpPut, Keys: decision, Slow: 5 * time.Second, Times: 1})
	late := make(chan error)
	go func() {
		c := w.process()
		c.Timeout = time.Minute
		_, err := c.ClaimEpoch(t.Context(), claimBy("late", 2))
		late <- err
	}()
	devtest.Until(t, "the late claim to be on its way", func() bool { return w.faults["west"].Struck() == 1 })
	must(w.process().MoveAuthority(t.Context(), "prod", "east", nil))(t)
	must(w.process().ClaimEpoch(t.Context(), claimBy("winner", 2)))(t)
	wantKind(t, <-late, fault.Conflict, "winner")
}

// A claimant that dies between its claim and telling it: whoever comes next tells it for him, with the same words. Without that a
// shipper of the epoch before would never find that it was followed.
func TestAClaimIsToldForADeadClaimant(t *testing.T) {
	for who, comes := range map[string]func(context.Context, *Catalog) error{
		"the mirror": func(ctx context.Context, c *Catalog) error { return c.Mirror(ctx, "prod") },
		"the next claimant": func(ctx context.Context, c *Catalog) error {
			won, err := c.ClaimEpoch(ctx, claimBy("b", 0))
			if err == nil && won.Epoch != 3 {
				err = fmt.Errorf("it claimed epoch %d", won.Epoch)
			}
			return err
		},
	} {
		t.Run(who, func(t *testing.T) {
			w := configured(t)
			epochs := regexp.MustCompile(`/epochs/`)
			revive := w.faults["west"].Add(objectstore.Rule{Ops: objectstore.OpPut, Keys: epochs, Fail: fault.Newf(fault.Transient, "put", "died")})
			_, err := w.ClaimEpoch(t.Context(), claimBy("a", 0))
			wantKind(t, err, fault.Transient)
			if err := w.CheckEpoch(t.Context(), "prod", 1); err != nil {
				t.Fatalf("told already: %v", err)
			}
			died := w.at(t, "west")
			revive()
			if err := comes(t.Context(), w.process()); err != nil {
				t.Fatal(err)
			}
			wantKind(t, w.CheckEpoch(t.Context(), "prod", 1), fault.Fenced, "operation a")
			for _, region := range []string{"east", "west"} {
				if diff := cmp.Diff(claimOf(&died), must(readClaim(t.Context(), w.stores[region], "prod", 2))(t)); diff != "" {
					t.Errorf("%s:\n%s", region, diff)
				}
			}
		})
	}
}

func TestOnlyTheHolderOfTheGroupClaims(t *testing.T) {
	w := configured(t)
	held := claimBy("a", 0)
	held.Held = true
	_, err := w.ClaimEpoch(t.Context(), held)
	wantKind(t, err, fault.Fenced, "does not hold")
	if err := w.BeginOperation(t.Context(), operation("a", 1)); err != nil {
		t.Fatal(err)
	}
	must(w.ClaimEpoch(t.Context(), held))(t)
	if err := w.TakeOverOperation(t.Context(), "a", operation("b", 2)); err != nil {
		t.Fatal(err)
	}
	_, err = w.ClaimEpoch(t.Context(), held)
	wantKind(t, err, fault.Fenced, "does not hold")
}

func TestClaimsAreChecked(t *testing.T) {
	w := configured(t)
	for _, c := range []Claim{
		{Group: "Prod", Region: "west", Operation: "a"},
		{Group: "prod", Region: "", Operation: "a"},
		{Group: "prod", Region: "west", Operation: "../a"},
		{Group: "prod", Region: "west", Operation: "a", Epoch: -1},
	} {
		_, err := w.ClaimEpoch(t.Context(), c)
		wantKind(t, err, fault.Invalid)
	}
	w.overwrite(t, "west", epochKey("prod", 2), []byte(`{"format":1,"group":"prod","epoch":7,"operation":"a"}`))
	_, err := w.ClaimEpoch(t.Context(), claimBy("a", 0))
	wantKind(t, err, fault.Corrupt, "epoch 7")
}
