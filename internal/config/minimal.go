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

// Text is the configuration as its file. It holds no secret, since a Config holds none.
func (c *Config) Text() ([]byte, error) {
	plain := Config{Temporal: c.Temporal, Regions: map[string]Region{}}
	for name, r := range c.Regions {
		d := &r.Worker
		if d.DataDir == "" {
			r.Worker = Worker{} // the defaults need not be written
		}
		plain.Regions[name] = r
	}
	b, err := yaml.MarshalWithOptions(plain, yaml.Indent(2))
	if err != nil {
		return nil, fault.New(fault.Invalid, "write configuration", err)
	}
	return b, nil
}
