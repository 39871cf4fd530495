// Package cluster makes PostgreSQL clusters for tests and demos, at a fraction of what initdb costs: initdb runs once for each installation
// and choice on a machine, and what it made is copied.
package cluster

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/smartdr/smartdr/internal/postgres"
)

// Init makes a cluster as s.Init does, under the same conditions and with a system identifier of its own. It does not wait for the disk.
func Init(ctx context.Context, s *postgres.Server, o postgres.InitOptions) error {
	o.NoSync = true
	if entries, err := os.ReadDir(s.DataDir); err == nil && len(entries) > 0 {
		return s.Init(ctx, o) // it refuses, in its own words
	}
	for _, dir := range []string{s.InstanceDir(), s.DataDir} {
		if err := errors.Join(os.MkdirAll(dir, 0o700), s.Own(dir), os.Chmod(dir, 0o700)); err != nil {
			return err
		}
	}
	if err := withTemplate(ctx, s, o, func(template string) error { return copyTree(template, s.DataDir) }); err != nil {
		return fmt.Errorf("copy a cluster: %w", err)
	}
	if err := identify(s.DataDir); err != nil {
		return err
	}
	return errors.Join(s.OwnTree(s.DataDir), s.WriteHBA(""))
}

// maxAge is how long a template is used: later than that a distribution may have mended what lies in it without another version's number.
const maxAge = 24 * time.Hour

// withTemplate calls use with the data directory of a cluster that nobody has ever started, which is made if there is none, and which is
// not replaced meanwhile. Processes that would make the same one wait for each other.
func withTemplate(ctx context.Context, s *postgres.Server, o postgres.InitOptions, use func(dataDir string) error) error {
	dir, err := templatesDir()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v %s %+v", s.Bin, s.Superuser, o))
	path := filepath.Join(dir, fmt.Sprintf("%d-%x", s.Bin.Version, sum[:6]))
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // which ends the lock
	for _, how := range []int{syscall.LOCK_SH, syscall.LOCK_EX} {
		if err := syscall.Flock(int(lock.Fd()), how); err != nil {
			return err
		}
		if fi, err := os.Stat(path); err == nil && time.Since(fi.ModTime()) < maxAge {
			return use(path)
		}
	}
	if err := create(ctx, s, o, path); err != nil {
		return err
	}
	return use(path)
}

// templatesDir is where one user's templates are.
func templatesDir() (string, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("smartdr-clusters-%d", os.Getuid()))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	fi, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); !fi.IsDir() || !ok || int(st.Uid) != os.Getuid() {
		return "", fmt.Errorf("%s belongs to somebody else", dir)
	}
	return dir, nil
}

// create makes a template by initdb, in a folder that the servers' account can enter, and puts it where it belongs when it is whole. An old one
// gives way.
func create(ctx context.Context, s *postgres.Server, o postgres.InitOptions, path string) error {
	dir, err := os.MkdirTemp("", "sdr")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := errors.Join(os.Chmod(dir, 0o755), s.Own(dir)); err != nil {
		return err
	}
	made := *s
	made.DataDir = filepath.Join(dir, "data")
	if err := made.Init(ctx, o); err != nil {
		return err
	}
	now := time.Now()
	if err := errors.Join(os.RemoveAll(path), os.Chtimes(made.DataDir, now, now)); err != nil {
		return err
	}
	return os.Rename(made.DataDir, path)
}
