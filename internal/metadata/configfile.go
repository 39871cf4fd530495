package metadata

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// local are settings of one host's file system and network, which start a server elsewhere wrongly or not at all.
var local = []string{
	"config_file", "data_directory", "external_pid_file", "hba_file", "ident_file", "krb_server_keyfile", "listen_addresses", "log_destination",
	"log_directory", "log_filename", "logging_collector", "port", "unix_socket_directories", "unix_socket_group", "unix_socket_permissions",
	"lc_messages", "in_hot_standby", "recovery_target_timeline", "hot_standby", "ignore_invalid_pages",
}

// NeedsConfigFile reports whether the primary's settings come from files outside its data directory, as on Debian, which are
// not in the copy. It is false where the primary did not let us know.
func NeedsConfigFile(m Metadata) bool {
	if m.DataDirectory == "" {
		return false
	}
	return slices.ContainsFunc(m.ConfigFiles, func(f string) bool {
		rel, err := filepath.Rel(m.DataDirectory, f)
		return err != nil || rel == ".." || strings.HasPrefix(rel, "../")
	})
}

// ConfigFile writes a postgresql.conf with the primary's settings that are not bound to its host. What the server is started
// with by -c (Overrides) wins over it. postgresql.auto.conf, which is part of the copy, is read after it.
func ConfigFile(m Metadata, _ Place) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by SmartDR from the settings of the primary as of %s.\n", m.CapturedAt.UTC().Format("2006-01-02 15:04:05 MST"))
	for _, s := range m.Settings {
		switch {
		case s.Source != "configuration file" && s.Source != "command line":
		case slices.Contains(local, s.Name):
		case isNever(s.Name):
		case s.Redacted:
			fmt.Fprintf(&b, "# %s is set on the primary; its value may be a secret and was not captured\n", s.Name)
		default:
			fmt.Fprintf(&b, "%s = '%s'\n", s.Name, confValue(s.Value))
		}
	}
	return b.String()
}

func isNever(name string) bool { _, ok := never[name]; return ok }

// confValue escapes a value for a quoted string of a configuration file (GUC_scanstr in src/backend/utils/misc/guc-file.l).
func confValue(v string) string {
	return strings.NewReplacer(`\`, `\\`, `'`, `''`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(v)
}
