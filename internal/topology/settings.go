package topology

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
)

// ownSettings are those that a workspace cannot choose, and why.
var ownSettings = map[string]string{
	"listen_addresses": place, "port": place, "data_directory": place, "config_file": place, "hba_file": place, "ident_file": place,
	"external_pid_file": place, "unix_socket_directories": place, "unix_socket_group": place, "unix_socket_permissions": place,
	"log_destination": logs, "logging_collector": logs, "log_line_prefix": logs, "lc_messages": logs, "log_error_verbosity": logs,
	"archive_mode": shipping, "archive_command": shipping, "archive_library": shipping, "archive_cleanup_command": shipping,
	"primary_conninfo": shipping, "primary_slot_name": shipping, "restore_command": shipping, "recovery_end_command": shipping,
	"recovery_target": shipping, "recovery_target_action": shipping, "recovery_target_inclusive": shipping, "recovery_target_lsn": shipping,
	"recovery_target_name": shipping, "recovery_target_time": shipping, "recovery_target_timeline": shipping, "recovery_target_xid": shipping,
	"recovery_min_apply_delay": shipping, "hot_standby": shipping,
	"synchronous_standby_names": "no standby that it could name is there after a failover, and commits would wait for ever",
	"ssl_passphrase_command":    "it may hold a secret, and settings are stored in the buckets",
	"allow_alter_system":        "SmartDR changes the server by ALTER SYSTEM",
	"shared_memory_type":        place,
}

const (
	place    = "it belongs to the host, which SmartDR chooses"
	logs     = "SmartDR reads the server's log"
	shipping = "SmartDR keeps the copies of the server, and brings it back from them"
)

// neverOff are settings without which a server cannot be brought back whole.
var neverOff = map[string]string{
	"full_page_writes": "a page that was half written when a base backup read it could not be repaired",
}

var settingName = regexp.MustCompile(`^[a-z_][a-z0-9_$]*(\.[a-z_][a-z0-9_$]*)*$`)

// CheckSettings returns a fault.Invalid error that names the first setting that a workspace must not choose, or nil. What
// PostgreSQL makes of the values is not known here.
func CheckSettings(settings map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if err := CheckSettingName(name); err != nil {
			return err
		}
		value := strings.ToLower(strings.TrimSpace(settings[name]))
		why, ok := neverOff[name]
		switch {
		case strings.ContainsAny(settings[name], "\n\r\x00"):
			return refusedSetting(name, "a value is one line")
		case ok && value != "on" && value != "true" && value != "yes" && value != "1":
			return refusedSetting(name, "it stays on: "+why)
		case name == "wal_level" && value != "replica" && value != "logical":
			return refusedSetting(name, "replica and logical are possible: a server that writes less cannot be copied")
		}
	}
	return nil
}

// CheckSettingName is CheckSettings for a name alone.
func CheckSettingName(name string) error {
	if !settingName.MatchString(name) {
		return fault.Newf(fault.Invalid, "check settings", "%q is no name of a setting", name).WithHint("Write settings in lower case, as work_mem=64MB.")
	}
	if why := ownSettings[name]; why != "" {
		return refusedSetting(name, why)
	}
	return nil
}

func refusedSetting(name, why string) error {
	return fault.Newf(fault.Invalid, "check settings", "%s cannot be chosen for a workspace: %s", name, why).WithHint("Leave %s out.", name)
}
