package config

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// keys are a bucket's credentials, read from the variables that Credentials names. Empty when it names none.
type keys struct{ access, secret, token Secret }

func (k Credentials) read(region string) (keys, error) {
	if k.AccessKeyEnv == "" {
		return keys{}, nil
	}
	var out keys
	var err1, err2, err3 error
	out.access, err1 = fromEnv(region, k.AccessKeyEnv)
	out.secret, err2 = fromEnv(region, k.SecretKeyEnv)
	if k.SessionTokenEnv != "" {
		out.token, err3 = fromEnv(region, k.SessionTokenEnv)
	}
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return keys{}, err
		}
	}
	return out, nil
}

func fromEnv(region, name string) (Secret, error) {
	v := os.Getenv(name)
	if v == "" {
		return Secret{}, fault.Newf(fault.Invalid, "read credentials of region "+region, "the variable %s is not set", name).
			WithHint("Set it in the environment of this process; regions.%s.credentials names it.", region)
	}
	return NewSecret(v), nil
}

// Under is put between a region's bucket and what tries again, so that it sees each attempt.
type Under func(region string, s objectstore.Store) objectstore.Store

// OpenStore returns a region's bucket, with keys that begin after objectstore.Root. It reads the credentials and does not
// connect; objectstore.Check does. Errors are fault.Invalid.
func (c *Config) OpenStore(ctx context.Context, region string, under ...Under) (objectstore.Store, error) {
	r, err := c.Region(region)
	if err != nil {
		return nil, err
	}
	k, err := r.Credentials.read(region)
	if err != nil {
		return nil, err
	}
	if err := r.Credentials.checkFile(region); err != nil {
		return nil, err
	}
	wraps := make([]func(objectstore.Store) objectstore.Store, len(under))
	for i, u := range under {
		wraps[i] = func(s objectstore.Store) objectstore.Store { return u(region, s) }
	}
	s, err := objectstore.Open(ctx, objectstore.S3Config{
		Bucket: r.Bucket, Prefix: r.Prefix + objectstore.Root, Region: r.S3Region, Endpoint: r.Endpoint, PathStyle: r.PathStyle,
		AccessKey: k.access.Reveal(), SecretKey: k.secret.Reveal(), SessionToken: k.token.Reveal(),
		Profile: r.Credentials.Profile, CredentialsFile: r.Credentials.File,
	}, wraps...)
	if err != nil {
		return nil, fmt.Errorf("region %s: %w", region, err)
	}
	return s, nil
}

// checkFile says which file is missing; the SDK would look elsewhere without a word.
func (k Credentials) checkFile(region string) error {
	if k.File == "" {
		return nil
	}
	f, err := os.Open(k.File)
	if err != nil {
		return fault.New(fault.Invalid, "read credentials of region "+region, err).
			WithHint("regions.%s.credentials.file names it; it has the format of ~/.aws/credentials.", region)
	}
	return f.Close()
}

// OpenStores opens every region's bucket.
func (c *Config) OpenStores(ctx context.Context, under ...Under) (map[string]objectstore.Store, error) {
	stores := make(map[string]objectstore.Store, len(c.Regions))
	var errs []error
	for _, name := range c.RegionNames() {
		s, err := c.OpenStore(ctx, name, under...)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		stores[name] = s
	}
	return stores, errors.Join(errs...)
}
