package metadata

import (
	"bufio"
	"context"
	"debug/elf"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
)

// Host is what a host offers to a restored server. A nil map or a zero number is unknown, and nothing is said about it.
type Host struct {
	Major       int             `json:"major"`
	Extensions  map[string]bool `json:"extensions"`            // by name, those with a control file
	Libraries   map[string]bool `json:"libraries"`             // by name without .so; those in plugins/ with that in front
	Locales     map[string]bool `json:"locales,omitempty"`     // as locale -a lists them, in normal form
	Features    map[string]bool `json:"features,omitempty"`    // optional parts that PostgreSQL was built with, see features
	LibcVersion string          `json:"libcVersion,omitempty"` // glibc's, as PostgreSQL records it as a collation version
	ICUVersions []string        `json:"icuVersions,omitempty"` // of its collations, as PostgreSQL records them; nil is unknown
	FreeBytes   int64           `json:"freeBytes"`             // of the file system of the data directory
	MemoryBytes int64           `json:"memoryBytes"`           // of the host, or of the control group that we run in
}

// Inspect reads what this host offers a server that runs with bin and keeps its files under dataDir, which need not exist
// yet. It changes nothing.
func Inspect(ctx context.Context, bin postgres.Binaries, dataDir string) (Host, error) {
	h := Host{Major: bin.Major(), MemoryBytes: memory("/proc/meminfo", "/sys/fs/cgroup/memory.max")}
	var err error
	if h.FreeBytes, err = freeBytes(dataDir); err != nil {
		return Host{}, err
	}
	share, lib := installation(ctx, bin)
	h.Extensions = names(filepath.Join(share, "extension"), ".control", "")
	h.Libraries = names(lib, ".so", "")
	if h.Libraries != nil {
		maps.Copy(h.Libraries, names(filepath.Join(lib, "plugins"), ".so", "plugins/"))
	}
	h.Locales, h.Features = locales(ctx), features(filepath.Join(bin.BinDir, "postgres"))
	if !h.lacks("icu") {
		h.ICUVersions = icuVersions(ctx, bin)
	}
	h.LibcVersion = strings.TrimPrefix(output(ctx, "getconf", "GNU_LIBC_VERSION"), "glibc ")
	return h, nil
}

// FreeBytes returns what an ordinary account may still write where dataDir is or will be. Errors are fault.Invalid.
func FreeBytes(dataDir string) (int64, error) { return freeBytes(dataDir) }

// MemoryBytes returns the memory of this host, or of the control group that we run in; 0 when neither is known.
func MemoryBytes() int64 { return memory("/proc/meminfo", "/sys/fs/cgroup/memory.max") }

// installation returns the folders of an installation that hold extensions and libraries. pg_config is not in every
// package; then they lie beside the programs in one of a few ways.
func installation(ctx context.Context, bin postgres.Binaries) (share, lib string) {
	dir := bin.BinDir
	if program, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres")); err == nil { // often linked to from /usr/local/bin
		dir = filepath.Dir(program)
	}
	config := filepath.Join(dir, "pg_config")
	share, lib = output(ctx, config, "--sharedir"), output(ctx, config, "--pkglibdir")
	if share != "" && lib != "" {
		return share, lib
	}
	root := filepath.Dir(dir)
	share = firstWith("extension/plpgsql.control", root+"/share/postgresql", root+"/share", root+"/share/extension",
		"/usr/share/postgresql/"+strconv.Itoa(bin.Major()))
	lib = firstWith("plpgsql.so", root+"/lib/postgresql", root+"/lib")
	return share, lib
}

// featureLibraries are what the postgres program is linked with where it was built with a feature.
var featureLibraries = map[string]string{
	"gssapi": "libgssapi", "ldap": "libldap", "pam": "libpam.", "openssl": "libssl.", "lz4": "liblz4.", "zstd": "libzstd.", "icu": "libicu",
}

// features returns nil where the program cannot be read as one that links dynamically.
func features(program string) map[string]bool {
	f, err := elf.Open(program)
	if err != nil {
		return nil
	}
	defer f.Close()
	libraries, err := f.ImportedLibraries()
	if err != nil || len(libraries) == 0 {
		return nil
	}
	out := map[string]bool{}
	for feature, prefix := range featureLibraries {
		out[feature] = slices.ContainsFunc(libraries, func(l string) bool { return strings.HasPrefix(l, prefix) })
	}
	return out
}

// lacks reports whether the host's PostgreSQL is known to be built without a feature.
func (h Host) lacks(feature string) bool {
	return feature != "" && h.Features != nil && !h.Features[feature]
}

// firstWith returns the first folder that holds a file, or "".
func firstWith(file string, dirs ...string) string {
	for _, d := range dirs {
		if _, err := os.Stat(filepath.Join(d, file)); err == nil {
			return d
		}
	}
	return ""
}

// output returns the first line that a program prints, "" if it cannot be run.
func output(ctx context.Context, program string, args ...string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

// names lists the files of dir that end in suffix, without it and with prefix in front; nil if there is no such folder.
func names(dir, suffix, prefix string) map[string]bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	out := map[string]bool{}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), suffix); ok {
			out[prefix+name] = true
		}
	}
	return out
}

// freeBytes returns what an ordinary account may still write where dataDir is or will be.
func freeBytes(dataDir string) (int64, error) {
	dir := filepath.Clean(dataDir)
	for {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		if err == nil {
			return int64(st.Bavail) * int64(st.Bsize), nil
		}
		parent := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || parent == dir {
			return 0, fault.Newf(fault.Invalid, "look at the disk", "%s: %w", dataDir, err).WithHint("Check the region's worker.dataDir.")
		}
		dir = parent
	}
}

// memory returns the smaller of the host's memory and the control group's limit; 0 when neither is known.
func memory(meminfo, limit string) int64 {
	total := memTotal(meminfo)
	b, err := os.ReadFile(limit)
	if err != nil {
		return total
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || total > 0 && n > total { // "max": no limit
		return total
	}
	return n
}

func memTotal(path string) int64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		rest, ok := strings.CutPrefix(sc.Text(), "MemTotal:")
		if !ok {
			continue
		}
		kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
		if err != nil {
			return 0
		}
		return kb << 10
	}
	return 0
}

// locales returns nil where locale cannot be run, as on Alpine.
func locales(ctx context.Context) map[string]bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "locale", "-a").Output()
	if err != nil {
		return nil
	}
	all := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		all[normalLocale(line)] = true
	}
	return all
}

// normalLocale writes en_US.UTF-8 and en_US.utf8 the same way.
func normalLocale(name string) string {
	language, codeset, ok := strings.Cut(strings.TrimSpace(name), ".")
	if !ok {
		return language
	}
	codeset, modifier, ok := strings.Cut(codeset, "@")
	codeset = strings.ToLower(strings.ReplaceAll(codeset, "-", ""))
	if ok {
		return language + "." + codeset + "@" + modifier
	}
	return language + "." + codeset
}
