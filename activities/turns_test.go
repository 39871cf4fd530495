package activities

import (
	"context"
	"errors"
	"testing"
)

// The newer attempt waits until the older one has really ended.
func TestTurnsTakeOver(t *testing.T) {
	var turns turns
	older, release, err := turns.take(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		<-older.Done()
		close(ended)
		release()
	}()
	newer, releaseNewer, err := turns.take(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer releaseNewer()
	select {
	case <-ended:
	default:
		t.Error("the newer turn began before the older one had ended")
	}
	if newer.Err() != nil {
		t.Error("the newer turn ended too")
	}
}

func TestTurnsOfOthersGoOn(t *testing.T) {
	var turns turns
	one, release, err := turns.take(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	_, releaseTwo, err := turns.take(t.Context(), "two")
	if err != nil {
		t.Fatal(err)
	}
	releaseTwo()
	if one.Err() != nil {
		t.Error("a turn ended for another key's sake")
	}
}

func TestTurnsWaitNoLongerThanTheirContext(t *testing.T) {
	var turns turns
	_, release, err := turns.take(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := turns.take(ctx, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("took a turn that is held: %v", err)
	}
}
