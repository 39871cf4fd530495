package config

import (
	"context"
	"errors"

	"github.com/smartdr/smartdr/internal/objectstore"
)

// Load reads the file at path; empty means EnvPath's, then DefaultPath.
func Load(path string) (*Config, error) { return nil, errors.New("not built yet") }

func (c *Config) Path() string                       { return c.path }
func (c *Config) Validate() error                    { return nil }
func (c *Config) Region(name string) (Region, error) { return Region{}, nil }
func (c *Config) RegionNames() []string              { return nil }
func (c *Config) OpenStore(ctx context.Context, region string) (objectstore.Store, error) {
	return nil, errors.New("not built yet")
}
func (c *Config) OpenStores(ctx context.Context) (map[string]objectstore.Store, error) {
	return nil, errors.New("not built yet")
}
