package restore

import (
	"maps"
	"strconv"

	"github.com/smartdr/smartdr/internal/wal"
)

// lastingOff are settings that a restored directory may carry and that would act on the place it came from: they stay off
// until somebody decides otherwise.
var lastingOff = map[string]string{
	"primary_conninfo": "", "primary_slot_name": "", "restore_command": "", "archive_cleanup_command": "", "recovery_end_command": "",
	"archive_mode": "off", "synchronous_standby_names": "", "recovery_min_apply_delay": "0",
	"recovery_target": "", "recovery_target_lsn": "", "recovery_target_name": "", "recovery_target_time": "", "recovery_target_xid": "",
}

// duringRecovery are settings that Attach relies on to see what recovery does.
var duringRecovery = map[string]string{
	"log_min_messages": "warning", // what replay meets is at LOG and WARNING
	"log_line_prefix":  "%m [%p] ", "log_error_verbosity": "default", "update_process_title": "on", "track_activities": "on",
	"wal_retrieve_retry_interval": "1s",
	// A file of old WAL must not come back under the name of WAL that Follow is about to write.
	"wal_recycle": "off",
	// Nobody but us is connected, and nothing may hold replay up.
	"max_standby_archive_delay": "0", "max_standby_streaming_delay": "0",
	"ignore_invalid_pages": "off",
}

// targetTimeline names the setting that says along which timeline to recover.
const targetTimeline = "recovery_target_timeline"

// recoverySettings are what the server is started with until it is promoted.
func (a *attach) recoverySettings(control wal.Parameters) map[string]string {
	settings := map[string]string{"hot_standby": "on"}
	maps.Copy(settings, a.lastingSettings(control))
	maps.Copy(settings, duringRecovery)
	// What is written after the promotion stays until the slot keeps it, whatever the first checkpoint thinks.
	settings["wal_keep_size"] = strconv.Itoa(max(64, 2*int(a.segmentSize>>20))) + "MB"
	settings[targetTimeline] = strconv.FormatUint(uint64(a.Plan.Timeline), 10)
	if len(a.OmittedDatabases) > 0 {
		settings["ignore_invalid_pages"] = "on" // checkPages looks at what was ignored
	}
	return settings
}

// lastingSettings are what it is started with from then on.
func (a *attach) lastingSettings(control wal.Parameters) map[string]string {
	settings := map[string]string{}
	for name, value := range a.Server.Settings {
		if _, temporary := duringRecovery[name]; !temporary && name != targetTimeline && name != "wal_keep_size" {
			settings[name] = value
		}
	}
	maps.Copy(settings, a.Overrides)
	maps.Copy(settings, lastingOff)
	for name, value := range minimums(control.Max(a.Minimums)) {
		if asked, err := strconv.Atoi(settings[name]); err != nil || asked < value {
			settings[name] = strconv.Itoa(value)
		}
	}
	return settings
}

// minimums are the settings that hot standby must not have lower than the WAL's source (2.7).
func minimums(p wal.Parameters) map[string]int {
	return map[string]int{
		"max_connections": p.MaxConnections, "max_worker_processes": p.MaxWorkerProcesses, "max_wal_senders": p.MaxWALSenders,
		"max_prepared_transactions": p.MaxPreparedTransactions, "max_locks_per_transaction": p.MaxLocksPerTransaction,
	}
}
