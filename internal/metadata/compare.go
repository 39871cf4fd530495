package metadata

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// spareBytes is what a server needs besides its files: WAL of its own, temporary files.
const spareBytes = 256 << 20

// Compare says what is missing on a host for a server with metadata m. needBytes is what its restored files take; 0 takes the
// sizes of its databases. It does no I/O.
func Compare(m Metadata, h Host, needBytes int64) []Problem {
	return slices.Concat(
		of("postgres", compareVersion(m, h)), of("postgres", compareFeatures(m, h)), of("extensions", compareExtensions(m, h)),
		of("libraries", compareLibraries(m, h)), of("disk", compareDisk(m, h, needBytes)), of("locales", compareLocales(m, h)),
		of("collations", compareCollations(m, h)), of("memory", compareMemory(m, h)))
}

func of(check string, problems []Problem) []Problem {
	for i := range problems {
		problems[i].Check = check
	}
	return problems
}

func compareVersion(m Metadata, h Host) []Problem {
	major := m.ServerVersion / 10000
	if h.Major == 0 || h.Major == major {
		return nil
	}
	return []Problem{{
		Name: fmt.Sprintf("PostgreSQL %d", major),
		Text: fmt.Sprintf("The server is PostgreSQL %d, and this host has PostgreSQL %d.", major, h.Major),
		Todo: fmt.Sprintf("Install PostgreSQL %d here, or name its folder in worker.pgBinDirs.", major), Blocking: true,
	}}
}

// compareFeatures: without the library that the primary compresses with, neither its WAL nor its tables can be read.
func compareFeatures(m Metadata, h Host) []Problem {
	var out []Problem
	lacking := func(feature, why string) {
		if h.lacks(feature) {
			out = append(out, Problem{
				Name: feature,
				Text: fmt.Sprintf("PostgreSQL on this host is built without %s, %s.", feature, why),
				Todo: "Install a build with it, as Debian's and Red Hat's are.", Blocking: true,
			})
		}
	}
	for _, setting := range []string{"wal_compression", "default_toast_compression"} {
		if v := m.Setting(setting); v == "lz4" || v == "zstd" {
			lacking(v, "and "+setting+" of the primary is "+v)
		}
	}
	for _, d := range m.Databases {
		if d.Provider == "i" && !d.Template {
			lacking("icu", "which database "+d.Name+" sorts by")
		}
	}
	return out
}

func compareExtensions(m Metadata, h Host) []Problem {
	if h.Extensions == nil {
		return nil
	}
	missing := map[string][]string{}
	for _, e := range m.Extensions {
		if !h.Extensions[e.Name] {
			missing[e.Name] = append(missing[e.Name], e.Database)
		}
	}
	var out []Problem
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		out = append(out, Problem{
			Name: name,
			Text: fmt.Sprintf("Extension %s, used by database %s, is not installed on this host.", name, strings.Join(missing[name], ", ")),
			Todo: fmt.Sprintf("Install the package that brings %s.control for PostgreSQL %d.", name, m.ServerVersion/10000), Blocking: true,
		})
	}
	return out
}

// libraryLists are the settings that name libraries to load.
var libraryLists = []string{"shared_preload_libraries", "session_preload_libraries", "local_preload_libraries"}

func compareLibraries(m Metadata, h Host) []Problem {
	var out []Problem
	for _, setting := range libraryLists {
		_, missing := available(m.list(setting), h)
		for _, lib := range missing {
			out = append(out, missingLibrary(lib, setting, m, true))
		}
	}
	for _, s := range m.RoleSettings {
		if !slices.Contains(libraryLists, s.Name) {
			continue
		}
		_, missing := available(splitList(s.Value), h)
		for _, lib := range missing {
			out = append(out, missingLibrary(lib, fmt.Sprintf("%s of %s", s.Name, owner(s)), m, false))
		}
	}
	return out
}

func missingLibrary(lib, setting string, m Metadata, blocking bool) Problem {
	return Problem{
		Name: lib,
		Text: fmt.Sprintf("Library %s, named by %s, is not installed on this host.", lib, setting),
		Todo: fmt.Sprintf("Install the package that brings %s.so for PostgreSQL %d.", path.Base(lib), m.ServerVersion/10000), Blocking: blocking,
	}
}

func owner(s RoleSetting) string {
	switch {
	case s.Role == "":
		return "database " + s.Database
	case s.Database == "":
		return "role " + s.Role
	}
	return "role " + s.Role + " in database " + s.Database
}

// available parts libraries into those that a host has and those that it lacks.
func available(libraries []string, h Host) (has, lacks []string) {
	for _, lib := range libraries {
		if hasLibrary(lib, h) {
			has = append(has, lib)
		} else {
			lacks = append(lacks, lib)
		}
	}
	return has, lacks
}

// hasLibrary is true where it is not known. A library that is named by its path is another host's file.
func hasLibrary(lib string, h Host) bool {
	name := strings.TrimSuffix(strings.TrimPrefix(lib, "$libdir/"), ".so")
	if filepath.IsAbs(name) {
		return false
	}
	return h.Libraries == nil || h.Libraries[name] || h.Libraries["plugins/"+name]
}

func compareDisk(m Metadata, h Host, needBytes int64) []Problem {
	if needBytes == 0 {
		for _, d := range m.Databases {
			needBytes += max(d.SizeBytes, 0)
		}
	}
	needBytes += needBytes/10 + spareBytes
	if h.FreeBytes == 0 || h.FreeBytes >= needBytes {
		return nil
	}
	return []Problem{{
		Text: fmt.Sprintf("The disk of this host has %s free, and the server needs about %s.", size(h.FreeBytes), size(needBytes)),
		Todo: "Free some space, or name a larger disk as worker.dataDir.", Blocking: true,
	}}
}

func size(n int64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

// compareLocales: no client can connect to a database whose locale the operating system does not know.
func compareLocales(m Metadata, h Host) []Problem {
	if h.Locales == nil {
		return nil
	}
	missing := map[string][]string{}
	for _, d := range m.Databases {
		for _, l := range []string{d.Collate, d.CType} {
			if !d.Template && !isC(l) && !h.Locales[normalLocale(l)] && !slices.Contains(missing[l], d.Name) {
				missing[l] = append(missing[l], d.Name)
			}
		}
	}
	var out []Problem
	for _, l := range slices.Sorted(maps.Keys(missing)) {
		out = append(out, Problem{
			Name: l,
			Text: fmt.Sprintf("Locale %s, used by database %s, is not installed on this host.", l, strings.Join(missing[l], ", ")),
			Todo: "Install it: on Debian with locale-gen, on Red Hat with the glibc-langpack of its language.", Blocking: true,
		})
	}
	return out
}

// isC reports whether a locale is there on every host and sorts by bytes.
func isC(locale string) bool {
	switch normalLocale(locale) {
	case "", "C", "POSIX", "C.utf8":
		return true
	}
	return false
}

// compareCollations: another library may sort otherwise than the indexes were built.
func compareCollations(m Metadata, h Host) []Problem {
	differ, unknown := map[string][]string{}, map[string][]string{}
	sort := func(what, provider, actual string) {
		here, known := h.sortsBy(provider)
		switch {
		case !known:
		case actual == "":
			unknown[providerName(provider)] = append(unknown[providerName(provider)], what)
		case !slices.Contains(here, actual):
			key := fmt.Sprintf("%s %s, and this host has %s", providerName(provider), actual, strings.Join(here, " and "))
			differ[key] = append(differ[key], what)
		}
	}
	for _, d := range m.Databases {
		if !d.Template && (d.Provider == "i" || d.Provider == "c" && !isC(d.Collate)) {
			sort("database "+d.Name, d.Provider, d.CollationActual)
		}
	}
	for _, c := range m.Collations {
		if c.Provider == "c" && isC(c.Locale) {
			continue
		}
		sort("collation "+c.Name+" in database "+c.Database, c.Provider, c.Actual)
	}
	var out []Problem
	for _, key := range slices.Sorted(maps.Keys(differ)) {
		out = append(out, Problem{
			Name: strings.Join(differ[key], ", "),
			Text: fmt.Sprintf("Text is sorted by %s, in %s: indexes on it may be in the wrong order here.", key, strings.Join(differ[key], ", ")),
			Todo: "After the failover, REINDEX what is named before it is used, then ALTER DATABASE ... REFRESH COLLATION VERSION or ALTER COLLATION ... REFRESH VERSION.",
		})
	}
	for _, provider := range slices.Sorted(maps.Keys(unknown)) {
		out = append(out, Problem{
			Name: strings.Join(unknown[provider], ", "),
			Text: fmt.Sprintf("It is not known by which version of %s text is sorted in %s: indexes on it may be in the wrong order here.", provider, strings.Join(unknown[provider], ", ")),
			Todo: "After the failover, REINDEX what is named before it is used.",
		})
	}
	return out
}

// sortsBy returns the versions that a host sorts by with a provider's collations; false where nothing is known, and for
// PostgreSQL's own (b), which are the same everywhere.
func (h Host) sortsBy(provider string) (versions []string, known bool) {
	switch {
	case provider == "c" && h.LibcVersion != "":
		return []string{h.LibcVersion}, true
	case provider == "i" && len(h.ICUVersions) > 0:
		return h.ICUVersions, true
	}
	return nil, false
}

func compareMemory(m Metadata, h Host) []Problem {
	m = m.atNextStart()
	lowered, ok := sharedBuffers(m, h)
	if !ok {
		return nil
	}
	return []Problem{{
		Text: fmt.Sprintf("shared_buffers is %s, and this host has %s of memory: it is lowered to %s.", m.Setting("shared_buffers"), size(h.MemoryBytes), lowered),
		Todo: "Use a host with more memory if that is too slow.",
	}}
}
