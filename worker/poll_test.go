package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"

	"go.temporal.io/sdk/worker"
)

// poller is a worker that Temporal takes, or not.
type poller struct {
	worker.Worker
	name string
	err  error
	log  *[]string
}

func (p poller) Start() error {
	*p.log = append(*p.log, "start "+p.name)
	return p.err
}

func (p poller) Stop() { *p.log = append(*p.log, "stop "+p.name) }

// A Temporal that goes away between two pollers of a host is asked again with new ones, and none is left of those before.
func TestPollingBeginsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log []string
		away := []error{errors.New("away"), errors.New("away"), nil}
		stop := poll(t.Context(), slog.New(slog.DiscardHandler), func() []worker.Worker {
			err := away[0]
			away = away[1:]
			return []worker.Worker{poller{name: "host", log: &log}, poller{name: "anywhere", err: err, log: &log}}
		})
		stop()
		once := []string{"start host", "start anywhere", "stop host"}
		if want := slices.Concat(once, once, []string{"start host", "start anywhere", "stop anywhere", "stop host"}); !slices.Equal(log, want) {
			t.Errorf("it did %q, want %q", log, want)
		}
	})
}

func TestPollingEndsWithTheProcess(t *testing.T) {
	var log []string
	ctx, cancel := context.WithCancel(t.Context())
	stop := poll(ctx, slog.New(slog.DiscardHandler), func() []worker.Worker {
		cancel()
		return []worker.Worker{poller{name: "host", err: errors.New("away"), log: &log}}
	})
	if stop(); !slices.Equal(log, []string{"start host"}) {
		t.Errorf("it did %q", log)
	}
}
