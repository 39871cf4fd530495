package objectstore_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/objectstore/objectstoretest"
)

var part atomic.Int64

// parts returns a function that opens an empty part of a bucket for each call.
func parts(s objectstore.Store) func(*testing.T) objectstore.Store {
	return func(*testing.T) objectstore.Store { return objectstore.Sub(s, fmt.Sprintf("part-%d/", part.Add(1))) }
}

func TestConformance(t *testing.T) {
	g := devtest.Gateway(t)
	s3 := devtest.Open(t, g)
	cfg := g.S3Config()
	cfg.Prefix = "some/prefix/"
	prefixed, err := objectstore.NewS3(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(prefixed.Close)

	t.Run("memory", func(t *testing.T) { objectstoretest.Run(t, parts(objectstoretest.NewMemory())) })
	t.Run("S3", func(t *testing.T) { objectstoretest.Run(t, parts(s3)) })
	t.Run("S3 with a prefix", func(t *testing.T) { objectstoretest.Run(t, parts(prefixed)) })
	t.Run("decorated", func(t *testing.T) {
		objectstoretest.Run(t, parts(objectstore.WithRetry(objectstore.WithCounters(objectstore.WithFaults(s3, new(objectstore.Faults)), new(objectstore.Counters)), objectstore.RetryPolicy{})))
	})
	t.Run("with every fifth request lost", func(t *testing.T) {
		objectstoretest.Run(t, parts(objectstore.WithRetry(&flaky{Store: s3}, objectstore.RetryPolicy{Attempts: 10, Base: time.Millisecond})))
	})
}
