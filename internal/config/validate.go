package config

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// Validate returns a fault.Invalid error that says what cannot be meant, or nil. It looks at nothing but c.
func (c *Config) Validate() error {
	if len(c.Regions) == 0 {
		return c.wrong("it names no region").WithHint("Give each region a name and a bucket under regions; docs/smartdr.example.yaml shows how.")
	}
	if a := c.Temporal.Address; a != "" {
		if _, port, err := net.SplitHostPort(a); err != nil || port == "" {
			return c.wrong("temporal.address %q is not host:port", a).WithHint("Write it as temporal.example.com:7233.")
		}
	}
	for _, name := range c.RegionNames() {
		if err := topology.CheckName("region", name); err != nil {
			return c.wrong("%w", err).WithHint("%s", fault.HintOf(err))
		}
		r := c.Regions[name]
		for _, check := range []func(string, Region) error{c.checkBucket, c.checkCredentials, c.checkWorker, c.checkPrices} {
			if err := check(name, r); err != nil {
				return err
			}
		}
	}
	if err := c.checkShared(); err != nil {
		return err
	}
	return c.checkHooks()
}

func (c *Config) wrong(format string, args ...any) *fault.Error {
	return &fault.Error{Kind: fault.Invalid, Op: opRead, Err: fmt.Errorf("%s: %w", c.path, fmt.Errorf(format, args...))}
}

func (c *Config) checkBucket(name string, r Region) error {
	if r.Bucket == "" {
		return c.wrong("region %s has no bucket", name).WithHint("Set regions.%s.bucket.", name)
	}
	if strings.HasPrefix(r.Prefix, "/") {
		return c.wrong("region %s: the prefix %q begins with a slash", name, r.Prefix).WithHint("Write it as dr/ or leave it out.")
	}
	if r.Endpoint == "" {
		return nil
	}
	u, err := url.Parse(r.Endpoint)
	if err == nil && u.User != nil {
		return c.wrong("region %s: the endpoint carries a user name or a password", name).WithHint("Take it out; credentials says where the keys are.")
	}
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return c.wrong("region %s: the endpoint is not a URL", name).WithHint("Write it as https://host:port.")
	}
	return nil
}

func (c *Config) checkCredentials(name string, r Region) error {
	k := r.Credentials
	switch {
	case (k.AccessKeyEnv == "") != (k.SecretKeyEnv == ""):
		return c.wrong("region %s: of accessKeyEnv and secretKeyEnv one is missing", name).WithHint("Name both variables, or neither.")
	case k.AccessKeyEnv != "" && (k.Profile != "" || k.File != ""):
		return c.wrong("region %s: the credentials name variables and a profile or a file", name).WithHint("Name one place for the keys.")
	case k.SessionTokenEnv != "" && k.AccessKeyEnv == "":
		return c.wrong("region %s: sessionTokenEnv stands without accessKeyEnv and secretKeyEnv", name).WithHint("Name all three variables.")
	}
	return nil
}

func (c *Config) checkWorker(name string, r Region) error {
	w := r.Worker
	if w.Host != "" {
		if err := topology.CheckName("host", w.Host); err != nil {
			return c.wrong("region %s: worker.host: %w", name, err).WithHint("%s", fault.HintOf(err))
		}
	}
	if w.Memory < 0 || w.CPUs < 0 {
		return c.wrong("region %s: worker.memory and worker.cpus are what servers may use together", name).WithHint("Write them as 64GiB and 16, or leave them out: then it is all that the machine has.")
	}
	if w.DataDir != "" && !filepath.IsAbs(w.DataDir) {
		return c.wrong("region %s: worker.dataDir %q is not absolute", name, w.DataDir).WithHint("Servers outlive the worker, wherever it was started: write the whole path.")
	}
	for _, d := range w.PGBinDirs {
		if !filepath.IsAbs(d) {
			return c.wrong("region %s: %q in worker.pgBinDirs is not absolute", name, d).WithHint("Write the whole path, as /usr/lib/postgresql/16/bin.")
		}
	}
	if w.Ports.From < 1 || w.Ports.To > 65535 || w.Ports.From > w.Ports.To {
		return c.wrong("region %s: worker.ports %d-%d is no range of ports", name, w.Ports.From, w.Ports.To).WithHint("Write it as 6000-6099.")
	}
	if w.DataDir != "" && w.AdvertiseHost == "" {
		return c.wrong("region %s: worker.listen is %q, which clients cannot connect to", name, w.Listen).WithHint("Set regions.%s.worker.advertiseHost to this host's name.", name)
	}
	return nil
}

// checkShared refuses two regions in one place: they would overwrite each other, and fail as one.
func (c *Config) checkShared() error {
	seen := map[string]string{}
	for _, name := range c.RegionNames() {
		r := c.Regions[name]
		s3Region := r.S3Region
		if r.Endpoint == "" {
			s3Region = "" // Amazon's bucket names are unique over its regions
		}
		place := strings.Join([]string{strings.TrimRight(r.Endpoint, "/"), s3Region, r.Bucket, r.Prefix}, "\x00")
		if other, ok := seen[place]; ok {
			return c.wrong("regions %s and %s have the same bucket", other, name).WithHint("Give each region a bucket of its own, in that region.")
		}
		seen[place] = name
	}
	return nil
}

// Path returns where the file was read from.
func (c *Config) Path() string { return c.path }

// RegionNames returns the names of all regions, sorted.
func (c *Config) RegionNames() []string { return slices.Sorted(maps.Keys(c.Regions)) }

// Region returns a region; fault.Invalid when there is none of that name.
func (c *Config) Region(name string) (Region, error) {
	r, ok := c.Regions[name]
	if !ok {
		return Region{}, fault.Newf(fault.Invalid, "find region", "there is no region %q in %s", name, c.path).
			WithHint("Known are: %s.", strings.Join(c.RegionNames(), ", "))
	}
	return r, nil
}
