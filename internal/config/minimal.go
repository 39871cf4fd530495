package config

import (
	"github.com/goccy/go-yaml"

	"github.com/smartdr/smartdr/internal/fault"
)

// One returns the configuration of a single region, as it would be read from a file at path. Errors are fault.Invalid.
func One(path, name string, r Region) (*Config, error) {
	c := &Config{Regions: map[string]Region{name: r}, path: path}
	if err := c.setDefaults(); err != nil {
		return nil, err
	}
	return c, c.Validate()
}

// minimal is what a file must say of buckets and data folders; the rest has defaults.
type minimal struct {
	Temporal *Temporal                `yaml:"temporal,omitempty"`
	Regions  map[string]minimalRegion `yaml:"regions"`
}

type minimalRegion struct {
	Bucket    string         `yaml:"bucket"`
	Endpoint  string         `yaml:"endpoint,omitempty"`
	S3Region  string         `yaml:"s3Region,omitempty"`
	Prefix    string         `yaml:"prefix,omitempty"`
	PathStyle bool           `yaml:"pathStyle,omitempty"`
	Worker    *minimalWorker `yaml:"worker,omitempty"`
}

type minimalWorker struct {
	DataDir string `yaml:"dataDir"`
}

// Minimal is the file with which a worker finds the same Temporal, buckets and data folders. It names no credentials: they are
// where the AWS SDK looks for them.
func (c *Config) Minimal() ([]byte, error) {
	m := minimal{Regions: map[string]minimalRegion{}}
	if c.Temporal != (Temporal{}) {
		m.Temporal = &c.Temporal
	}
	for name, r := range c.Regions {
		one := minimalRegion{Bucket: r.Bucket, Endpoint: r.Endpoint, S3Region: r.S3Region, Prefix: r.Prefix, PathStyle: r.PathStyle}
		if r.Worker.DataDir != "" {
			one.Worker = &minimalWorker{r.Worker.DataDir}
		}
		m.Regions[name] = one
	}
	b, err := yaml.MarshalWithOptions(m, yaml.Indent(2))
	if err != nil {
		return nil, fault.New(fault.Invalid, "write configuration", err)
	}
	return b, nil
}
