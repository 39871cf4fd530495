package metadata

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The files of a data directory that hold settings.
const (
	mainConf = "postgresql.conf"
	autoConf = "postgresql.auto.conf" // ALTER SYSTEM writes it; read last
	hereConf = "smartdr.conf"         // ours, included at the end of mainConf: what is mapped to this host
)

// confLine is one line of a configuration file (src/backend/utils/misc/guc-file.l).
type confLine struct {
	text  string // as it is, without the newline
	name  string // lower-case; empty for an empty line, a comment, and what is no setting
	value string
}

func parseConf(text string) []confLine {
	var lines []confLine
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		name, value, _ := parseConfLine(line)
		lines = append(lines, confLine{line, name, value})
	}
	return lines
}

func parseConfLine(line string) (name, value string, ok bool) {
	rest := strings.TrimLeft(line, " \t")
	end := 0
	for end < len(rest) && isNameByte(rest[end]) {
		end++
	}
	if end == 0 {
		return "", "", false
	}
	name, rest = strings.ToLower(rest[:end]), strings.TrimLeft(rest[end:], " \t")
	rest = strings.TrimLeft(strings.TrimPrefix(rest, "="), " \t")
	if quoted, ok := strings.CutPrefix(rest, "'"); ok {
		value, ok = confString(quoted)
		return name, value, ok
	}
	value = rest
	if i := strings.IndexAny(rest, " \t#"); i >= 0 {
		value = rest[:i]
	}
	return name, value, value != ""
}

func isNameByte(c byte) bool {
	return c == '_' || c == '.' || c == '$' || c >= 0x80 || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// confString reads a quoted value whose first quote is gone (DeescapeQuotedString in guc-file.l). It is false for one that
// does not end.
func confString(s string) (value string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\'' && i+1 < len(s) && s[i+1] == '\'':
			b.WriteByte('\'')
			i++
		case s[i] == '\'':
			return b.String(), true
		case s[i] == '\\' && i+1 < len(s):
			i += confEscape(s[i+1:], &b)
		default:
			b.WriteByte(s[i])
		}
	}
	return "", false
}

// confEscape writes what follows a backslash, and returns how many bytes that was.
func confEscape(s string, b *strings.Builder) int {
	if i := strings.IndexByte("bfnrt", s[0]); i >= 0 {
		b.WriteByte("\b\f\n\r\t"[i])
		return 1
	}
	n := 0
	for n < 3 && n < len(s) && s[n] >= '0' && s[n] <= '7' {
		n++
	}
	if n == 0 {
		b.WriteByte(s[0])
		return 1
	}
	octal, _ := strconv.ParseUint(s[:n], 8, 16) // only octal digits
	b.WriteByte(byte(octal))
	return n
}

func confSetting(name, value string) string { return fmt.Sprintf("%s = '%s'", name, confValue(value)) }

// confFile is a file that settings of a copy come from.
type confFile struct {
	path  string // in the data directory
	lines []confLine
}

// confTree holds the configuration of a data directory: postgresql.conf and what it includes, in the order in which they are
// read first; and apart from them what ALTER SYSTEM wrote.
type confTree struct {
	files   []confFile
	auto    []confLine
	outside []string          // includes of files that are not in the data directory, as they are written
	set     map[string]string // what files say, the last one wins; not what ALTER SYSTEM wrote
}

// readConfTree reads the configuration of a data directory. A tree without files has no postgresql.conf.
func readConfTree(data fs.FS) (*confTree, error) {
	t := &confTree{set: map[string]string{}}
	if err := t.read(data, mainConf, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	auto, err := fs.ReadFile(data, autoConf)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	t.auto = parseConf(string(auto))
	return t, nil
}

// maxIncludes is the server's limit of how deep files include each other (CONF_FILE_MAX_DEPTH in src/include/utils/conffiles.h).
const maxIncludes = 10

func (t *confTree) read(data fs.FS, name string, depth int) error {
	b, err := fs.ReadFile(data, name)
	if err != nil {
		return err
	}
	lines := parseConf(string(b))
	if !slices.ContainsFunc(t.files, func(f confFile) bool { return f.path == name }) {
		t.files = append(t.files, confFile{name, lines})
	}
	for _, l := range lines {
		if !isInclude(l.name) {
			if l.name != "" {
				t.set[l.name] = l.value
			}
			continue
		}
		if l.isHere() {
			continue
		}
		if err := t.include(data, path.Dir(name), l, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func isInclude(name string) bool {
	return name == "include" || name == "include_if_exists" || name == "include_dir"
}

// include follows one directive. A file outside the data directory is not in the copy; one of the same name on this host
// would be another server's.
func (t *confTree) include(data fs.FS, dir string, l confLine, depth int) error {
	target := path.Join(dir, l.value)
	if filepath.IsAbs(l.value) || !fs.ValidPath(target) || depth > maxIncludes {
		t.outside = append(t.outside, l.text)
		return nil
	}
	names := []string{target}
	if l.name == "include_dir" {
		entries, err := fs.ReadDir(data, target)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err != nil {
			t.outside = append(t.outside, l.text)
			return nil
		}
		names = confNames(target, entries)
	}
	for _, name := range names {
		err := t.read(data, name, depth)
		if errors.Is(err, fs.ErrNotExist) && l.name != "include_if_exists" {
			t.outside = append(t.outside, l.text)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func confNames(dir string, entries []fs.DirEntry) (names []string) {
	for _, e := range entries { // sorted by name
		if !e.IsDir() && strings.HasSuffix(e.Name(), ".conf") && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, path.Join(dir, e.Name()))
		}
	}
	return names
}

// confValue escapes a value for a quoted string of a configuration file.
func confValue(v string) string {
	return strings.NewReplacer(`\`, `\\`, `'`, `''`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(v)
}
