package objectstore

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
)

// headStore answers Head with what the test says, and counts.
type headStore struct {
	Store
	err   error
	asked int
}

func (s *headStore) Head(context.Context, string) (Info, error) {
	s.asked++
	return Info{}, s.err
}

func TestBreaker(t *testing.T) {
	store := &headStore{err: fault.New(fault.Transient, "head", errors.New("refused"))}
	b := WithBreaker(store, time.Second, 3*time.Second).(*breaker)
	clock := time.Unix(0, 0)
	b.now = func() time.Time { return clock }
	ask := func(later time.Duration, asked int) error {
		t.Helper()
		clock = clock.Add(later)
		_, err := b.Head(t.Context(), "k")
		if store.asked != asked {
			t.Fatalf("asked %d times, want %d", store.asked, asked)
		}
		return err
	}
	if err := ask(0, 1); !fault.Is(err, fault.Transient) {
		t.Fatal(err)
	}
	if err := ask(900*time.Millisecond, 1); !fault.Is(err, fault.Transient) || !errors.Is(err, store.err) {
		t.Fatalf("while it rests: %v", err)
	}
	_ = ask(200*time.Millisecond, 2)  // tried again; rests 2 s now
	_ = ask(1900*time.Millisecond, 2) // and longer than before
	_ = ask(200*time.Millisecond, 3)  // rests 3 s, no more
	store.err = fault.New(fault.Missing, "head", nil)
	if err := ask(3100*time.Millisecond, 4); !fault.Is(err, fault.Missing) {
		t.Fatal(err)
	}
	_ = ask(0, 5) // an answer, whatever it says, ends the rests
}

// A caller that gives up says nothing about the store, whatever its reason was.
func TestBreakerCallerGaveUp(t *testing.T) {
	for _, why := range []error{nil, fault.New(fault.Fenced, "check epoch", errors.New("epoch 2 was followed by 3"))} {
		store := &headStore{err: fault.New(fault.Transient, "head", context.Canceled)}
		b := WithBreaker(store, time.Hour, time.Hour)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(why)
		_, _ = b.Head(ctx, "k")
		_, _ = b.Head(t.Context(), "k")
		if store.asked != 2 {
			t.Errorf("given up for %v: asked %d times", why, store.asked)
		}
	}
}

// One that ran out of time does.
func TestBreakerCallerRanOutOfTime(t *testing.T) {
	store := &headStore{err: fault.New(fault.Transient, "head", context.DeadlineExceeded)}
	b := WithBreaker(store, time.Hour, time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	_, _ = b.Head(ctx, "k")
	_, _ = b.Head(t.Context(), "k")
	if store.asked != 1 {
		t.Errorf("asked %d times", store.asked)
	}
}

// lateStore lets one request fail when it is told to, and answers the others.
type lateStore struct {
	Store
	begun, fail chan struct{}
}

func (s *lateStore) Head(_ context.Context, key string) (Info, error) {
	if key != "late" {
		return Info{}, nil
	}
	close(s.begun)
	<-s.fail
	return Info{}, fault.New(fault.Transient, "head", errors.New("refused"))
}

// A request that has tried for long while the store was away, and fails when it is back, does not have it rest.
func TestBreakerFailureOfLongAgo(t *testing.T) {
	store := &lateStore{begun: make(chan struct{}), fail: make(chan struct{})}
	b := WithBreaker(store, time.Hour, time.Hour)
	ended := make(chan error)
	go func() { _, err := b.Head(t.Context(), "late"); ended <- err }()
	<-store.begun
	if _, err := b.Head(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	close(store.fail)
	if err := <-ended; !fault.Is(err, fault.Transient) {
		t.Fatalf("the late one: %v", err)
	}
	if _, err := b.Head(t.Context(), "k"); err != nil {
		t.Errorf("a store that answers rests: %v", err)
	}
}
