// Package devenv starts and stops the real parts that SmartDR works with, on this host: object stores, Temporal,
// PostgreSQL servers, and whole regions made of them. Tests, `make demo` and `make dev` use it; the product does not.
package devenv

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/smartdr/smartdr/internal/fault"
)

// Root returns the repository's folder: $SMARTDR_ROOT, or the one at or above the working directory that holds the
// module's go.mod.
func Root() (string, error) {
	if r := os.Getenv("SMARTDR_ROOT"); r != "" {
		return filepath.Abs(r)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		mod, err := os.ReadFile(filepath.Join(d, "go.mod"))
		if err == nil && bytes.HasPrefix(mod, []byte("module github.com/smartdr/smartdr\n")) {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fault.Newf(fault.Invalid, "find the repository", "%s is not inside it", dir).WithHint("go there, or set SMARTDR_ROOT")
		}
	}
}

// Tool returns the path of a program: one that tools/install built, else one in PATH.
func Tool(name string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	for _, dir := range []string{"bin", ".tools/bin"} {
		path := filepath.Join(root, dir, name)
		if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return "", fault.Newf(fault.Invalid, "find "+name, "it is neither in %s nor in PATH", filepath.Join(root, ".tools/bin")).
		WithHint("run `make tools build`")
}

// PostgresDirs returns the bin folders of the PostgreSQL installations that tools/install made, newest major first.
// Those of the system are not among them: postgres.Find knows these by itself.
func PostgresDirs() []string {
	root, err := Root()
	if err != nil {
		return nil
	}
	var dirs []string
	for _, major := range []string{"18", "17", "16", "15"} {
		// A link when the repository lies where the server's account cannot go.
		dir, err := filepath.EvalSymlinks(filepath.Join(root, ".tools/postgres", major, "bin"))
		if err == nil {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}
