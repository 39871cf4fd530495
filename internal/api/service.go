// Package api is the one service behind the command line, the portal and the wire. It reads the catalog from the
// buckets, and asks Temporal for what is to be done. What only reads works without Temporal.
package api

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/config"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// Options are choices of a Service; the zero value is good.
type Options struct {
	Log *slog.Logger     // default: none
	Now func() time.Time // default: time.Now
	// DialTimeout is how long Temporal may take to answer the first time; default 5 s.
	DialTimeout time.Duration
	// BucketTimeout is how long one round of reads waits for a bucket; default 4 s.
	BucketTimeout time.Duration
}

// Service answers what may be asked of SmartDR. Its methods are safe for concurrent use. Errors are of package fault's
// kinds where something can be done about them; ClassOf says what.
type Service struct {
	cfg  *config.Config
	opts Options

	mu       sync.Mutex
	catalog  *catalog.Catalog // nil until first needed
	temporal client.Client    // nil until it has answered
	failedAt time.Time        // when Temporal last did not answer
	failure  error            // what it said then
}

// New returns a service over the regions and the Temporal cluster of a configuration. It connects to nothing yet.
func New(cfg *config.Config, opts Options) *Service {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.DialTimeout == 0 {
		opts.DialTimeout = 5 * time.Second
	}
	return &Service{cfg: cfg, opts: opts}
}

// Close lets go of the connection to Temporal.
func (s *Service) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.temporal != nil {
		s.temporal.Close()
		s.temporal = nil
	}
}

// openCatalog returns the catalog over every configured region's bucket.
func (s *Service) openCatalog(ctx context.Context) (*catalog.Catalog, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.catalog != nil {
		return s.catalog, nil
	}
	stores, err := s.cfg.OpenStores(ctx)
	if err != nil {
		return nil, err
	}
	s.catalog = &catalog.Catalog{Stores: stores, Timeout: s.opts.BucketTimeout, Now: s.opts.Now, Log: s.opts.Log}
	return s.catalog, nil
}

// store returns one region's bucket.
func (s *Service) store(ctx context.Context, region string) (objectstore.Store, error) {
	return s.cfg.OpenStore(ctx, region)
}
