package objectstore_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

var quick = objectstore.RetryPolicy{Attempts: 4, Base: time.Millisecond, Cap: 2 * time.Millisecond}

func TestRetry(t *testing.T) {
	base := devtest.Store(t)
	boom := fault.Newf(fault.Transient, "try", "boom")
	for _, c := range []struct {
		name     string
		rule     objectstore.Rule
		put      objectstore.PutOptions
		want     fault.Kind
		attempts int64
	}{
		{"passes by itself", objectstore.Rule{Fail: boom, Times: 3}, objectstore.PutOptions{}, "", 4},
		{"stays", objectstore.Rule{Fail: boom}, objectstore.PutOptions{}, fault.Transient, 4},
		{"is final", objectstore.Rule{Fail: fault.Newf(fault.Invalid, "try", "no")}, objectstore.PutOptions{}, fault.Invalid, 1},
		{"lost answer", objectstore.Rule{LoseAck: true, Times: 2}, objectstore.PutOptions{}, "", 3},
		{"lost answer of a claim", objectstore.Rule{LoseAck: true, Times: 1}, objectstore.PutOptions{IfAbsent: true}, "", 1}, // it looks before it sends again
	} {
		t.Run(c.name, func(t *testing.T) {
			f, n := new(objectstore.Faults), new(objectstore.Counters)
			c.rule.Ops = objectstore.OpPut
			f.Add(c.rule)
			s := objectstore.WithRetry(objectstore.WithCounters(objectstore.WithFaults(base, f), n), quick)
			_, err := s.Put(t.Context(), c.name, []byte("x"), c.put)
			if got := fault.KindOf(err); got != c.want {
				t.Errorf("got %q (%v), want %q", got, err, c.want)
			}
			if got := n.Puts.Load(); got != c.attempts {
				t.Errorf("%d attempts, want %d", got, c.attempts)
			}
		})
	}
}

// TestLostAnswerIsNotSomebodyElses: the claim of another writer that came first is a Conflict still, however often
// the answer is lost.
func TestLostAnswerIsNotSomebodyElses(t *testing.T) {
	base := devtest.Store(t)
	put(t, base, "claim", "theirs")
	f := new(objectstore.Faults)
	f.Add(objectstore.Rule{Ops: objectstore.OpPut, Fail: fault.Newf(fault.Transient, "try", "boom"), Times: 1})
	_, err := objectstore.WithRetry(objectstore.WithFaults(base, f), quick).Put(t.Context(), "claim", []byte("theirs"), objectstore.PutOptions{IfAbsent: true})
	wantFault(t, err, fault.Conflict, "")
}

func TestRetryEndsWithItsContext(t *testing.T) {
	f := new(objectstore.Faults)
	boom := fault.Newf(fault.Transient, "try", "boom")
	f.Add(objectstore.Rule{Fail: boom})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	s := objectstore.WithRetry(objectstore.WithFaults(nil, f), objectstore.RetryPolicy{Attempts: 1 << 30, Base: time.Hour, Cap: time.Hour})
	if _, err := s.Head(ctx, "k"); !errors.Is(err, boom) {
		t.Errorf("got %v, want the store's own error", err)
	}
}

func TestListGoesOnWhereItBroke(t *testing.T) {
	base := devtest.Store(t)
	want := []string{}
	for i := range 10 {
		want = append(want, fmt.Sprint("k", i))
		put(t, base, want[i], "")
	}
	s := objectstore.WithRetry(&flaky{Store: base}, objectstore.RetryPolicy{Attempts: 100, Base: time.Millisecond})
	for range 5 {
		got := []string{}
		for i, err := range s.List(t.Context(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, i.Key)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestFaults(t *testing.T) {
	base := devtest.Store(t)
	put(t, base, "wal/1.seg", "0123456789")
	put(t, base, "other", "0123456789")
	f := new(objectstore.Faults)
	s := objectstore.WithFaults(base, f)
	seg := regexp.MustCompile(`\.seg$`)

	remove := f.Add(objectstore.Rule{Ops: objectstore.OpGet, Keys: seg, FlipBit: true, Truncate: 2, Times: 1})
	if b, i, err := s.Get(t.Context(), "wal/1.seg"); err != nil || string(b) != "01235567" || i.Size != 8 {
		t.Errorf("spoiled to %q (size %d), %v", b, i.Size, err)
	}
	if b, _, err := s.Get(t.Context(), "wal/1.seg"); err != nil || string(b) != "0123456789" {
		t.Errorf("struck twice: %q, %v", b, err)
	}
	if n := f.Struck(); n != 1 {
		t.Errorf("struck %d times", n)
	}
	remove()

	remove = f.Add(objectstore.Rule{Keys: seg, Dead: true})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := s.Head(ctx, "wal/1.seg")
	wantFault(t, err, fault.Transient, "", "deadline")
	if _, err := s.Head(t.Context(), "other"); err != nil {
		t.Errorf("another key is struck too: %v", err)
	}
	remove()
	if _, err := s.Head(t.Context(), "wal/1.seg"); err != nil {
		t.Errorf("a rule that was removed strikes: %v", err)
	}

	f.Add(objectstore.Rule{Ops: objectstore.OpPut, LoseAck: true})
	_, err = s.Put(t.Context(), "new", []byte("x"), objectstore.PutOptions{})
	wantFault(t, err, fault.Transient, "", "lost")
	if b, _, err := base.Get(t.Context(), "new"); err != nil || string(b) != "x" {
		t.Errorf("what was put with its answer lost is not there: %q, %v", b, err)
	}
}

func TestCounters(t *testing.T) {
	n := new(objectstore.Counters)
	s := objectstore.WithCounters(devtest.Store(t), n)
	put(t, s, "k", "12345")
	_, err := s.Put(t.Context(), "k", []byte("1234567"), objectstore.PutOptions{IfAbsent: true})
	wantFault(t, err, fault.Conflict, "")
	if _, _, err := s.Get(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetRange(t.Context(), "k", 1, 2); err != nil {
		t.Fatal(err)
	}
	for range s.List(t.Context(), "", "") {
	}
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	want := []int64{2, 2, 0, 1, 1, 6, 5, 7, 0}
	got := []int64{n.Gets.Load(), n.Puts.Load(), n.Heads.Load(), n.Lists.Load(), n.Deletes.Load(), n.Requests(), n.BytesOut.Load(), n.BytesIn.Load(), n.Errors.Load()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAStoreThatHangsUpOnWhatItRefuses(t *testing.T) {
	s := objectstore.WithRetry(rude{devtest.Store(t)}, quick)
	if _, err := s.Put(t.Context(), "once", []byte("mine"), objectstore.PutOptions{IfAbsent: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "once", []byte("another's"), objectstore.PutOptions{IfAbsent: true}); !fault.Is(err, fault.Conflict) {
		t.Errorf("the second writer got %v, want fault.Conflict", err)
	}
}
