package catalog

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// Of all attempts that fix a plan at the same time one wins, and the others get its plan.
func TestAPlanIsFixedOnce(t *testing.T) {
	w := newWorld(t)
	got := make([]string, 8)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			plan, err := w.FixPlan(t.Context(), "east", "prod", "op", func(was []byte) ([]byte, error) {
				if was != nil {
					return was, nil
				}
				return fmt.Appendf(nil, `{"by":%d}`, i), nil
			})
			if err != nil {
				t.Error(err)
			}
			got[i] = string(compact(plan))
		})
	}
	wg.Wait()
	for _, plan := range got {
		if plan != got[0] {
			t.Errorf("plans %s and %s", got[0], plan)
		}
	}
}

func TestAPlanIsChangedByItsNewestForm(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := w.FixPlan(t.Context(), "east", "prod", "op", func(was []byte) ([]byte, error) {
				n := 0
				if was != nil {
					if _, err := fmt.Sscanf(string(was), "%d", &n); err != nil {
						return nil, err
					}
				}
				return fmt.Append(nil, n+1), nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	plan, err := w.FixPlan(t.Context(), "east", "prod", "op", func(was []byte) ([]byte, error) { return was, nil })
	if string(plan) != "8" || err != nil {
		t.Errorf("counted to %s, %v", plan, err)
	}
}

func TestAPlanIsNoOperation(t *testing.T) {
	w := configured(t)
	op := topology.Operation{ID: "op", Kind: "Failover", Group: "prod", State: topology.OperationActive}
	if err := w.PutOperation(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	if _, err := w.FixPlan(t.Context(), "east", "prod", "op", func([]byte) ([]byte, error) { return []byte("1"), nil }); err != nil {
		t.Fatal(err)
	}
	ops, err := w.Operations(t.Context(), "prod")
	if err != nil || len(ops) != 1 {
		t.Errorf("%d operations, %v", len(ops), err)
	}
}

func TestAPlanThatCannotBeFixed(t *testing.T) {
	w := newWorld(t)
	refused := errors.New("refused")
	if _, err := w.FixPlan(t.Context(), "east", "prod", "op", func([]byte) ([]byte, error) { return nil, refused }); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
	if _, err := w.FixPlan(t.Context(), "east", "prod", "../op", nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("a bad id: %v", err)
	}
	if _, err := w.stores["east"].Put(t.Context(), planKey("prod", "op"), []byte("{"), objectstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.FixPlan(t.Context(), "east", "prod", "op", nil); !fault.Is(err, fault.Corrupt) {
		t.Errorf("a damaged plan: %v", err)
	}
}
