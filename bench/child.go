package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/topology"
)

// order is what a child reads from standard input. When the input ends, it stops.
type order struct {
	Profile string          `json:"profile,omitempty"` // file to write a CPU profile to
	Input   json.RawMessage `json:"input"`
}

// line is one line of what a child prints: how far it is, or at the end its result or error.
type line struct {
	Progress *topology.WALProgress `json:"progress,omitempty"`
	Result   json.RawMessage       `json:"result,omitempty"`
	Seconds  float64               `json:"seconds,omitempty"` // that the work took, without starting the process
	Error    string                `json:"error,omitempty"`
}

// teller prints lines; safe for concurrent use.
type teller struct {
	mu  sync.Mutex
	enc *json.Encoder
}

func (t *teller) tell(l line) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.enc.Encode(l)
}

// piece is one kind of measured work: JSON in, result out.
type piece func(ctx context.Context, in json.RawMessage, t *teller) (any, error)

// typed makes a piece of a function with an input of its own type.
func typed[In any](f func(context.Context, In, *teller) (any, error)) piece {
	return func(ctx context.Context, raw json.RawMessage, t *teller) (any, error) {
		var in In
		if err := json.Unmarshal(raw, &in); err != nil {
			return nil, err
		}
		return f(ctx, in, t)
	}
}

var pieces = map[string]piece{
	"ship":     typed(shipPiece),
	"snapshot": typed(snapshotPiece),
	"backup":   typed(backupPiece),
	"files":    typed(filesPiece),
	"fetch":    typed(fetchPiece),
	"get":      typed(getPiece),
	"attach":   typed(attachPiece),
}

func childMain(ctx context.Context, name string) error {
	work, ok := pieces[name]
	if !ok {
		return fmt.Errorf("no piece is called %q", name)
	}
	var o order
	in := json.NewDecoder(os.Stdin)
	if err := in.Decode(&o); err != nil {
		return fmt.Errorf("read what to do: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is the news: the parent wants us to stop, or is gone
		cancel()
	}()
	t := &teller{enc: json.NewEncoder(os.Stdout)}
	return t.tell(do(ctx, work, o, t))
}

// do works and returns the last line.
func do(ctx context.Context, work piece, o order, t *teller) line {
	stop, err := startProfile(o.Profile)
	if err != nil {
		return line{Error: err.Error()}
	}
	began := time.Now()
	out, err := work(ctx, o.Input, t)
	seconds := time.Since(began).Seconds()
	if err = errors.Join(err, stop()); err != nil {
		return line{Error: err.Error()}
	}
	result, err := json.Marshal(out)
	if err != nil {
		return line{Error: err.Error()}
	}
	return line{Result: result, Seconds: seconds}
}

func startProfile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error { pprof.StopCPUProfile(); return f.Close() }, nil
}
