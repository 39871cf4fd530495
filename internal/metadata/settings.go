package metadata

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// FileSetting is one line of a configuration file, as pg_file_settings shows it. Of several for one name in files of one kind
// the last one holds.
type FileSetting struct {
	Name     string   `json:"name"`
	Value    string   `json:"value"` // as it is written; "" when Redacted
	Kind     FileKind `json:"kind"`
	Redacted bool     `json:"redacted,omitempty"`
	Waits    bool     `json:"waits,omitempty"` // for a restart of the server
}

// FileKind says which file a setting comes from.
type FileKind string

const (
	// InFile settings are in postgresql.conf or in what it includes.
	InFile FileKind = "file"
	// ByAlterSystem settings are in postgresql.auto.conf, and win over those.
	ByAlterSystem FileKind = "auto"
	// MappedHere settings are in our own file: what a server with another place was given there. Where there are two of one
	// name, the first is what ALTER SYSTEM said on the primary.
	MappedHere FileKind = "here"
)

// readFileSettings reads what the files say, whether or not it is in force: a line that waits for a restart would be in force
// after one.
func (c *capture) readFileSettings(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `select f.name, f.setting, f.sourcefile, coalesce(s.pending_restart, false) from pg_show_all_file_settings() f left join pg_settings s on lower(s.name) = lower(f.name)
		where f.name is not null and f.setting is not null and (f.error is null or s.pending_restart) order by f.seqno`)
	if err != nil {
		return err
	}
	var s FileSetting
	var file string
	_, err = pgx.ForEachRow(rows, []any{&s.Name, &s.Value, &file, &s.Waits}, func() error {
		kept := s
		kept.Kind = kindOf(file)
		if kept.Redacted = isSecret(s.Name, s.Value); kept.Redacted {
			kept.Value = ""
		}
		c.m.FileSettings = append(c.m.FileSettings, kept)
		return nil
	})
	c.m.FilesKnown = err == nil
	return err
}

func kindOf(file string) FileKind {
	switch path.Base(file) {
	case autoConf:
		return ByAlterSystem
	case hereConf:
		return MappedHere
	}
	return InFile
}

// wanted is what a restored server's files are to say. Keys are lower-case.
type wanted struct {
	file, auto map[string]Setting
	redacted   map[string]bool // lines of the copy stay
	complete   bool            // what is not named here is not set on the primary
}

// wanted settles which file each setting belongs into. Where the capture does not know, as for a role that may not read the
// files, it is the one that the copy has it in.
func (m Metadata) wanted(t *confTree) wanted {
	w := wanted{file: map[string]Setting{}, auto: map[string]Setting{}, redacted: map[string]bool{}, complete: m.FilesKnown}
	if m.FilesKnown {
		w.fromFiles(m)
	} else {
		w.fromForce(m, t)
	}
	for _, s := range m.Settings {
		w.outside(m, s)
	}
	return w
}

// outside puts into the file what a server was started with, as a container's arguments, which win over all files. What
// SmartDR started a server with is not its own.
func (w wanted) outside(m Metadata, s Setting) {
	name := strings.ToLower(s.Name)
	if !s.outside() || s.Redacted || m.Managed && isRecovery(name) {
		return
	}
	_, inFile := w.file[name]
	_, byAlterSystem := w.auto[name]
	if m.Managed && slices.Contains(minimumNames, name) && (inFile || byAlterSystem) {
		return
	}
	delete(w.auto, name)
	w.file[name] = s
}

// outside reports whether a server was started with a setting that need not be in any of its files.
func (s Setting) outside() bool {
	return s.Source == "command line" || s.Source == "environment variable"
}

func (w wanted) fromFiles(m Metadata) {
	held := map[string]bool{}
	for i, s := range m.FileSettings {
		name := strings.ToLower(s.Name)
		switch {
		case s.Redacted:
			w.redacted[name] = true
		case s.Kind == ByAlterSystem:
			w.auto[name] = Setting{Name: s.Name, Value: s.Value}
		case s.Kind == InFile:
			w.file[name] = Setting{Name: s.Name, Value: s.Value}
		case !held[name] && slices.ContainsFunc(m.FileSettings[i+1:], func(o FileSetting) bool { return o.Kind == MappedHere && strings.EqualFold(o.Name, s.Name) }):
			held[name] = true // what ALTER SYSTEM says now is read later and wins
			w.auto[name] = Setting{Name: s.Name, Value: s.Value}
		}
	}
}

func (w wanted) fromForce(m Metadata, t *confTree) {
	byAlterSystem := map[string]bool{}
	for _, l := range t.auto {
		byAlterSystem[l.name] = true
	}
	for _, s := range m.Settings {
		name := strings.ToLower(s.Name)
		switch {
		case s.Redacted:
			w.redacted[name] = true
		case s.Source != "configuration file":
		case byAlterSystem[name]:
			w.auto[name] = s
		default:
			w.file[name] = s
		}
	}
}

// CaptureSettings reads a server's settings alone.
func CaptureSettings(ctx context.Context, conn *pgx.Conn) (Metadata, error) {
	c := &capture{conn: conn, m: Metadata{CapturedAt: time.Now().UTC()}}
	err := c.run(ctx, func(ctx context.Context) error {
		if err := c.readIdentity(ctx); err != nil {
			return err
		}
		if err := c.readSettings(ctx); err != nil {
			return err
		}
		if err := c.markDefaults(ctx); err != nil {
			return err
		}
		for _, read := range []func(context.Context, pgx.Tx) error{c.readShadowed, c.readFileSettings} {
			if err := c.optional(ctx, "", "pg_show_all_file_settings()", read); err != nil {
				return err
			}
		}
		return nil
	})
	return c.m, err
}

// markDefaults: what a server was started with is nothing special if it is the default all the same.
func (c *capture) markDefaults(ctx context.Context) error {
	rows, err := c.tx.Query(ctx, `select name from pg_settings where source = 'command line' and setting is not distinct from boot_val`)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for i, s := range c.m.Settings {
		c.m.Settings[i].Default = slices.Contains(names, s.Name)
	}
	return err
}

// atNextStart returns m with the values that its server would have after a restart, as its copy does.
func (m Metadata) atNextStart() Metadata {
	last := map[string]FileSetting{}
	for _, f := range m.FileSettings {
		last[strings.ToLower(f.Name)] = f
	}
	m.Settings = slices.Clone(m.Settings)
	for i, s := range m.Settings {
		if f, ok := last[strings.ToLower(s.Name)]; ok && f.Waits && !f.Redacted && !s.outside() {
			m.Settings[i].Value = f.Value
			m.Settings[i].Source = "configuration file"
			delete(last, strings.ToLower(s.Name))
		}
	}
	for _, f := range m.FileSettings { // those that have their defaults now were not captured
		if _, known := m.inForce(f.Name); !known && f.Waits && !f.Redacted {
			m.Settings = append(m.Settings, Setting{Name: f.Name, Value: last[strings.ToLower(f.Name)].Value, Source: "configuration file"})
		}
	}
	return m
}

// says reports whether the last line of files for a name has that value.
func (m Metadata) says(name, value string) bool {
	for _, f := range slices.Backward(m.FileSettings) {
		if strings.EqualFold(f.Name, name) {
			return f.Value == value
		}
	}
	return false
}

// CompareSettings says which settings are in force on a restored server otherwise than on the primary, by name. What mapped
// explains has its reason; so has what the server was started with for its recovery and will lose with its next start. Values
// that a place decides (ports, addresses, the log) are only compared where mapped names them.
func CompareSettings(captured, restored Metadata, mapped []SettingDifference) []SettingDifference {
	captured = captured.atNextStart()
	var out []SettingDifference
	for _, s := range captured.Settings {
		here, known := restored.inForce(s.Name)
		if s.Redacted || here.Redacted || s.Source == "default" || known && here.Value == s.Value || isLocal(s.Name) || isNever(s.Name) {
			continue
		}
		if s.outside() && captured.Managed && (isRecovery(s.Name) || slices.Contains(minimumNames, s.Name)) {
			continue
		}
		if restored.says(s.Name, s.Value) && here.Source != "command line" { // written otherwise than it is shown
			continue
		}
		d := SettingDifference{Name: s.Name, Primary: s.Value, Here: here.Value}
		if !known {
			d.Here = "not set"
		}
		out = append(out, d)
	}
	for _, s := range restored.Settings {
		_, known := captured.inForce(s.Name)
		set := s.Source == "configuration file" && !isLocal(s.Name) || s.outside() && isRecovery(s.Name)
		if set && !known && !s.Default && !s.Redacted && !isNever(s.Name) {
			out = append(out, SettingDifference{Name: s.Name, Primary: "not set", Here: s.Value})
		}
	}
	for i := range out {
		out[i].explain(restored, mapped)
	}
	slices.SortFunc(out, func(a, b SettingDifference) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func (m Metadata) inForce(name string) (Setting, bool) {
	i := slices.IndexFunc(m.Settings, func(s Setting) bool { return strings.EqualFold(s.Name, name) })
	if i < 0 {
		return Setting{}, false
	}
	return m.Settings[i], true
}

func (d *SettingDifference) explain(restored Metadata, mapped []SettingDifference) {
	if i := slices.IndexFunc(mapped, func(m SettingDifference) bool { return strings.EqualFold(m.Name, d.Name) }); i >= 0 {
		d.Why, d.Cause = mapped[i].Why, mapped[i].Cause
		return
	}
	if s, _ := restored.inForce(d.Name); s.Source == "command line" {
		d.Why, d.Cause = "recovery needed it; the primary's value holds from the server's next start on", OfRecovery
	}
}
