// Package cluster makes PostgreSQL clusters for tests and demos, at a fraction of what initdb costs: initdb runs once for each installation
// and choice on a machine, and what it made is copied.
package cluster

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
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

// templatesDir is where one user's templates are: in the repository's tool folder, else among temporary files.
func templatesDir() (string, error) {
	name := fmt.Sprintf("smartdr-clusters-%d", os.Getuid())
	if tools := ToolsDir(); tools != "" {
		if dir := filepath.Join(tools, name); os.Mkdir(dir, 0o700) == nil || isOwn(dir) {
			return dir, nil
		}
	}
	dir := filepath.Join(temporary, name)
	if err := os.Mkdir(dir, 0o700); err != nil && !isOwn(dir) {
		return "", err
	}
	return dir, nil
}

// temporary is what it was at the beginning: a test may give what it tries another one.
var temporary = os.TempDir()

func isOwn(dir string) bool {
	fi, err := os.Lstat(dir)
	if err != nil || !fi.IsDir() {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Getuid()
}

// ToolsDir is the tool folder of the repository that the working directory is in, or "".
func ToolsDir() string {
	dir, err := os.Getwd()
	for ; err == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, ".tools")
		}
	}
	return ""
}

// create makes a template by initdb, in a folder that the servers' account can enter, and puts it where it belongs when it is whole. An old one
// gives way.
func create(ctx context.Context, s *postgres.Server, o postgres.InitOptions, path string) error {
	dir, err := os.MkdirTemp(temporary, "sdr")
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
	part := path + ".part" // of one that was killed, too; on the file system of path
	if err := errors.Join(os.RemoveAll(path), os.RemoveAll(part), os.Mkdir(part, 0o700)); err != nil {
		return err
	}
	if err := copyTree(made.DataDir, part); err != nil {
		return err
	}
	return os.Rename(part, path)
}
