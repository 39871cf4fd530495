package metadata

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
)

// local are settings of one host's file system and network. Files keep what they say of them; what a server is started with
// wins over it.
var local = []string{
	"config_file", "data_directory", "external_pid_file", "hba_file", "ident_file", "krb_server_keyfile", "listen_addresses", "log_destination",
	"log_directory", "log_filename", "logging_collector", "port", "unix_socket_directories", "unix_socket_group", "unix_socket_permissions",
	"lc_messages", "in_hot_standby", "recovery_target_timeline", "hot_standby", "ignore_invalid_pages", "log_line_prefix",
}

func isLocal(name string) bool { return slices.Contains(local, strings.ToLower(name)) }

func isNever(name string) bool { _, ok := never[strings.ToLower(name)]; return ok }

// SettingsPlan is how the files of a restored data directory become what those of the primary were when they were last seen.
type SettingsPlan struct {
	Mapping
	Files map[string]string // by path in the data directory: their new text
}

// PlanSettings compares the configuration in a restored data directory, which is as old as its snapshot, with what was
// captured since, and says what to write: values of ALTER SYSTEM into postgresql.auto.conf, others into postgresql.conf, what
// is mapped to this host into a file of its own, between the two. Files stay as they are where they agree. What the capture
// does not know, as secrets, is left as the copy has it.
// Writing the files and planning again comes to the same files.
func PlanSettings(m Metadata, p Place, data fs.FS) (SettingsPlan, error) {
	tree, err := readConfTree(data)
	if err != nil {
		return SettingsPlan{}, fault.New(fault.Transient, "read configuration of the copy", err)
	}
	m = m.withCopy(tree)
	plan := &settingsPlan{m: m, tree: tree, want: m.wanted(tree), SettingsPlan: SettingsPlan{Mapping: Map(m, p), Files: map[string]string{}}}
	plan.writeMain()
	plan.writeAuto()
	plan.writeHere()
	return plan.SettingsPlan, nil
}

// withCopy adds what only the copy's own files say, where the primary did not let us see all of its settings.
func (m Metadata) withCopy(t *confTree) Metadata {
	if m.FilesKnown {
		return m
	}
	m.Settings = slices.Clone(m.Settings)
	set := maps.Clone(t.set)
	for _, l := range t.auto {
		if l.name != "" {
			set[l.name] = l.value
		}
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if _, known := m.inForce(name); !known {
			m.Settings = append(m.Settings, Setting{Name: name, Value: set[name], Source: "configuration file"})
		}
	}
	return m
}

type settingsPlan struct {
	SettingsPlan
	m    Metadata
	tree *confTree
	want wanted
}

// asOf names the capture in what is written.
func (p *settingsPlan) asOf() string { return p.m.CapturedAt.UTC().Format("2006-01-02 15:04:05 MST") }

// writeMain settles postgresql.conf and what it includes.
func (p *settingsPlan) writeMain() {
	if p.want.complete && (len(p.tree.outside) > 0 || len(p.tree.files) == 0) {
		p.writeWhole()
		return
	}
	for _, include := range p.tree.outside {
		p.Notes = append(p.Notes, fmt.Sprintf("%q of the primary's configuration did not come along, being outside the data directory, and what it says is not known", strings.TrimSpace(include)))
	}
	if len(p.tree.files) == 0 {
		p.tree.files = []confFile{{path: mainConf}}
	}
	for i, f := range p.tree.files {
		text := p.edited(f)
		if i == 0 {
			text += p.block(p.changed()) + includeHere
		}
		if text != f.text() {
			p.Files[f.path] = text
		}
	}
}

// includeHere is the last line of postgresql.conf.
const includeHere = "include_if_exists '" + hereConf + "' # by SmartDR: what is otherwise on this host\n"

func (l confLine) isHere() bool { return l.name == "include_if_exists" && l.value == hereConf }

func (f confFile) text() string {
	var b strings.Builder
	for _, l := range f.lines {
		b.WriteString(l.text + "\n")
	}
	return b.String()
}

// edited turns lines of the copy into comments that the primary no longer has, and that must not hold here.
func (p *settingsPlan) edited(f confFile) string {
	var b strings.Builder
	for _, l := range f.lines {
		if l.isHere() {
			continue
		}
		if why := p.outdated(l); why != "" {
			b.WriteString("# " + why + ": ")
		}
		b.WriteString(l.text + "\n")
	}
	return b.String()
}

// outdated says why a line does not hold any more; "" if it does.
func (p *settingsPlan) outdated(l confLine) string {
	want, wanted := p.want.file[l.name]
	switch {
	case isInclude(l.name) && slices.Contains(p.tree.outside, l.text):
		return "left out by SmartDR, not on this host"
	case isNever(l.name):
		return "left out by SmartDR, of another place"
	case l.name == "" || !p.carried(l.name):
		return ""
	case wanted && want.Value != p.tree.set[l.name], !wanted && p.want.complete:
		return "before " + p.asOf()
	}
	return ""
}

// changed returns what the primary's files say and the copy's do not, by name.
func (p *settingsPlan) changed() (all []Setting) {
	for _, name := range slices.Sorted(maps.Keys(p.want.file)) {
		s := p.want.file[name]
		if here, there := p.tree.set[name]; (!there || here != s.Value) && p.carried(name) {
			all = append(all, s)
		}
	}
	return all
}

// carried reports whether a setting is written into files here.
func (p *settingsPlan) carried(name string) bool {
	return !isLocal(name) && !isNever(name) && !p.want.redacted[name] && !isInclude(name)
}

func (p *settingsPlan) block(settings []Setting) string {
	if len(settings) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by SmartDR: settings of the primary as of %s.\n", p.asOf())
	for _, s := range settings {
		b.WriteString(confSetting(s.Name, s.Value) + "\n")
	}
	return b.String()
}

// writeWhole writes a postgresql.conf where the copy has none, because the primary's lay elsewhere (as Debian's does), or
// where it includes files that did not come along. The copy's own is kept beside it.
func (p *settingsPlan) writeWhole() {
	var all []Setting
	for _, name := range slices.Sorted(maps.Keys(p.want.file)) {
		if p.carried(name) {
			all = append(all, p.want.file[name])
		}
	}
	text := p.block(all)
	for _, name := range slices.Sorted(maps.Keys(p.want.redacted)) {
		value, there := p.tree.set[name]
		switch {
		case isNever(name):
		case there:
			text += confSetting(name, value) + "\n"
		default:
			text += fmt.Sprintf("# %s is set on the primary; its value may be a secret and was not captured\n", name)
		}
	}
	if len(p.tree.files) > 0 {
		p.Files[mainConf+".primary"] = p.tree.files[0].text()
	}
	p.Files[mainConf] = text + includeHere
}

// writeAuto settles postgresql.auto.conf. What is mapped here is not in it, since it would win: it stands in our own file.
func (p *settingsPlan) writeAuto() {
	all := map[string]Setting{}
	for _, l := range p.tree.auto {
		if _, said := p.want.file[l.name]; l.name != "" && (p.want.redacted[l.name] || !p.want.complete && !said) {
			all[l.name] = Setting{Name: l.name, Value: l.value}
		}
	}
	maps.Copy(all, p.want.auto)
	text := "# Do not edit this file manually!\n# It will be overwritten by the ALTER SYSTEM command.\n"
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if _, here := p.Here[name]; !here && !isNever(name) {
			text += confSetting(all[name].Name, all[name].Value) + "\n"
		}
	}
	p.Files[autoConf] = text
}

// writeHere writes what is otherwise on this host: after the primary's files, so that it wins over them, and before
// postgresql.auto.conf, so that ALTER SYSTEM works. What ALTER SYSTEM said on the primary stands before each value, so that
// a failover from here to a larger host brings it back (MappedHere).
func (p *settingsPlan) writeHere() {
	text := "# Written by SmartDR: settings that this host needs otherwise than the primary had them.\n"
	for _, name := range slices.Sorted(maps.Keys(p.Here)) {
		if was, ok := p.want.auto[name]; ok {
			text += confSetting(name, was.Value) + "\n"
		}
		text += confSetting(name, p.Here[name]) + "\n"
	}
	p.Files[hereConf] = text
}
