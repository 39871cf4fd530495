package metadata

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// Place is where a restored server is to run.
type Place struct {
	DataDir   string
	SocketDir string
	Listen    string
	Port      int
	HBAFile   string
	IdentFile string
	Admin     string         // the superuser that SmartDR connects as, through the socket
	Isolated  bool           // a drill or a branch: no background jobs
	Minimums  wal.Parameters // the largest that the WAL asks for
	Host      Host
	Firewall  topology.Firewall // of the group; in front of the access rules
	// Readable says whether the server can read a file; a relative path is in DataDir. If nil, files in DataDir are
	// looked for and others count as not readable: their owner and mode would have to be right, too.
	Readable func(path string) bool
}

func (p Place) readable(path string) bool {
	if p.Readable != nil {
		return p.Readable(path)
	}
	if filepath.IsAbs(path) {
		return false
	}
	_, err := os.Stat(filepath.Join(p.DataDir, path))
	return err == nil
}

// never are settings that a restored server must not inherit: they would follow or feed what belongs to the old place.
var never = map[string]string{
	"primary_conninfo": "", "primary_slot_name": "", "restore_command": "", "archive_cleanup_command": "", "recovery_end_command": "",
	"archive_mode": "off", "archive_command": "", "archive_library": "", "synchronous_standby_names": "", "recovery_min_apply_delay": "0",
	"recovery_target": "", "recovery_target_lsn": "", "recovery_target_name": "", "recovery_target_time": "", "recovery_target_xid": "",
	"unix_socket_group": "",
}

// minimumNames are the settings that a standby must not have lower than its primary (2.7).
var minimumNames = []string{"max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions", "max_locks_per_transaction"}

// recoveryNames are what package restore starts a server with for its recovery, beside never.
var recoveryNames = []string{
	"hot_standby", "ignore_invalid_pages", "recovery_target_timeline", "log_min_messages", "log_line_prefix", "log_error_verbosity", "update_process_title",
	"track_activities", "wal_retrieve_retry_interval", "wal_recycle", "max_standby_archive_delay", "max_standby_streaming_delay", "wal_keep_size",
	"max_logical_replication_workers",
}

// isRecovery reports whether SmartDR gives a setting on a server's command line for a reason of its own.
func isRecovery(name string) bool { return isNever(name) || slices.Contains(recoveryNames, name) }

// Mapping is what a restored server gets otherwise than the primary had it.
type Mapping struct {
	// CommandLine is given by -c for the recovery, where it wins over every file; once that is over it can go.
	CommandLine map[string]string
	// Here is for a file that wins over the primary's, but not over a later ALTER SYSTEM.
	Here   map[string]string
	Mapped []SettingDifference // each setting that the primary has otherwise, with the reason
	Notes  []string            // what else an operator should know
}

// overrides collects what Map returns.
type overrides struct {
	m Metadata
	p Place
	Mapping
}

// list says why a setting is not what it is on the primary.
func (o *overrides) list(name, here, why string, args ...any) {
	primary := o.m.Setting(name)
	if s, known := o.m.inForce(name); known && s.Redacted {
		primary = "not captured"
	}
	o.Mapped = append(o.Mapped, SettingDifference{Name: name, Primary: primary, Here: here, Why: fmt.Sprintf(why, args...)})
}

// set gives a setting its value for this host.
func (o *overrides) set(name, here, why string, args ...any) {
	o.Here[name] = here
	o.list(name, here, why, args...)
}

// Map decides what a restored server gets otherwise than the primary had it: what belongs to a place, and what would keep it
// from starting here. As little as possible.
func Map(m Metadata, p Place) Mapping {
	o := &overrides{m: m.atNextStart(), p: p, Mapping: Mapping{CommandLine: maps.Clone(never), Here: map[string]string{}}}
	for _, decide := range []func(){o.minimums, o.place, o.memory, o.libraries, o.tls, o.fences, o.subscriptions, o.listNever} {
		decide()
	}
	slices.SortStableFunc(o.Mapped, func(a, b SettingDifference) int { return cmp.Compare(a.Name, b.Name) })
	return o.Mapping
}

// minimums: a standby must have at least what its primary had (2.7).
func (o *overrides) minimums() {
	for name, atLeast := range map[string]int{
		"max_connections": o.p.Minimums.MaxConnections, "max_worker_processes": o.p.Minimums.MaxWorkerProcesses,
		"max_wal_senders": o.p.Minimums.MaxWALSenders, "max_prepared_transactions": o.p.Minimums.MaxPreparedTransactions,
		"max_locks_per_transaction": o.p.Minimums.MaxLocksPerTransaction,
	} {
		if captured, err := strconv.Atoi(o.m.Setting(name)); err == nil {
			atLeast = max(atLeast, captured)
		}
		if atLeast > 0 {
			o.CommandLine[name] = strconv.Itoa(atLeast)
		}
	}
}

// place lists what package postgres starts every server with, and what a host's file system decides. What is not known of
// the place is not listed.
func (o *overrides) place() {
	const log = "SmartDR reads the server's log, which is server.log in its instance folder"
	const folder = "each server has files of its own, in its instance folder"
	var port, conf, pid string
	if o.p.Port > 0 {
		port = strconv.Itoa(o.p.Port)
	}
	if o.p.DataDir != "" {
		conf, pid = filepath.Join(o.p.DataDir, mainConf), filepath.Join(filepath.Dir(o.p.DataDir), "server.pid")
	}
	for _, b := range []struct{ name, here, why string }{
		{"port", port, "each server of a host has a port of its own"},
		{"listen_addresses", o.p.Listen, "the worker's configuration says where servers listen"},
		{"unix_socket_directories", o.p.SocketDir, "only this host's control uses the socket"},
		{"unix_socket_permissions", "0777", "the socket's folder keeps others out"},
		{"data_directory", o.p.DataDir, folder}, {"config_file", conf, folder}, {"external_pid_file", pid, folder},
		{"hba_file", o.p.HBAFile, folder}, {"ident_file", o.p.IdentFile, folder},
		{"log_destination", "stderr", log}, {"logging_collector", "off", log}, {"log_line_prefix", "%m [%p] ", log}, {"lc_messages", "C", log},
	} {
		if s, known := o.m.inForce(b.name); known && b.here != "" && unquoted(s.Value) != b.here {
			o.list(b.name, b.here, "%s", b.why)
			o.Mapped[len(o.Mapped)-1].Cause = OfPlace
		}
	}
}

// unquoted reads a list of one item, as unix_socket_directories is.
func unquoted(value string) string {
	if items := splitList(value); len(items) == 1 && strings.HasPrefix(value, `"`) {
		return items[0]
	}
	return value
}

// memory makes the server fit a smaller host (3.10): what would keep it from starting, and what follows from that.
func (o *overrides) memory() {
	if o.m.Setting("huge_pages") == "on" {
		o.set("huge_pages", "try", "with on, a host that has not reserved them would not start the server")
	}
	if o.m.Setting("io_method") == "io_uring" {
		o.set("io_method", "worker", "io_uring needs a kernel and a build that allow it")
	}
	memory := o.p.Host.MemoryBytes
	lowered, ok := sharedBuffers(o.m, o.p.Host)
	if ok {
		o.set("shared_buffers", lowered, "this host has %s of memory", size(memory))
	}
	for name, share := range map[string]int64{"wal_buffers": 16, "min_dynamic_shared_memory": 8} {
		if n, known := parseSetting(name, o.m.Setting(name)); known && memory > 0 && n > memory/share {
			o.set(name, megabytes(memory/share), "this host has %s of memory", size(memory))
		}
	}
	if !ok {
		return
	}
	for name, share := range map[string]int64{"effective_cache_size": 2, "maintenance_work_mem": 16, "autovacuum_work_mem": 16} {
		if n, ok := parseSetting(name, o.m.Setting(name)); ok && n > memory/share {
			o.set(name, megabytes(memory/share), "this host has %s of memory", size(memory))
		}
	}
}

// sharedBuffers returns a quarter of the host's memory if the primary's shared_buffers are more than two fifths of it.
func sharedBuffers(m Metadata, h Host) (lowered string, ok bool) {
	n, known := parseSetting("shared_buffers", m.Setting("shared_buffers"))
	if !known || h.MemoryBytes <= 0 || n <= h.MemoryBytes/5*2 {
		return "", false
	}
	return megabytes(h.MemoryBytes / 4), true
}

func megabytes(n int64) string { return strconv.FormatInt(max(n>>20, 16), 10) + "MB" }

// baseUnits are what a number without a unit counts in a file.
var baseUnits = map[string]string{
	"shared_buffers": "8kB", "wal_buffers": "8kB", "effective_cache_size": "8kB", "min_dynamic_shared_memory": "MB", "maintenance_work_mem": "kB", "autovacuum_work_mem": "kB",
}

// parseSetting reads a memory setting as SHOW prints it or as a file has it.
func parseSetting(name, value string) (bytes int64, ok bool) {
	value = strings.ReplaceAll(value, " ", "")
	if n, err := strconv.ParseInt(value, 10, 64); err == nil && n > 0 {
		unit, in8 := strings.CutPrefix(baseUnits[name], "8")
		if in8 {
			n *= 8
		}
		value = strconv.FormatInt(n, 10) + unit
	}
	return parseSize(value)
}

var sizePattern = regexp.MustCompile(`^([0-9]+)(B|kB|MB|GB|TB)$`)

// parseSize reads a memory setting as SHOW prints it; false for what is none, as -1.
func parseSize(s string) (bytes int64, ok bool) {
	f := sizePattern.FindStringSubmatch(s)
	if f == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(f[1], 10, 64)
	shift := map[string]uint{"B": 0, "kB": 10, "MB": 20, "GB": 30, "TB": 40}[f[2]]
	if err != nil || n > (1<<62)>>shift {
		return 0, false
	}
	return n << shift, true
}

// jobLibraries start work by themselves, which a drill or a branch must not do (3.5).
var jobLibraries = []string{"pg_cron", "pg_net", "pgagent", "pg_partman_bgw", "pg_timetable"}

// libraries leaves out what this host lacks (3.2): the server would not start, or let nobody in.
func (o *overrides) libraries() {
	for _, setting := range libraryLists {
		all := o.m.list(setting)
		keep, missing := available(all, o.p.Host)
		why := "this host does not have " + strings.Join(missing, ", ")
		if o.p.Isolated {
			keep = slices.DeleteFunc(keep, func(l string) bool { return slices.Contains(jobLibraries, strings.TrimPrefix(l, "$libdir/")) })
		}
		if len(missing) == 0 {
			why = "no jobs run in a branch"
		}
		if len(keep) < len(all) {
			o.set(setting, joinList(keep), "%s", why)
		}
	}
}

// tls turns TLS off where the certificate or the key did not come along: the server would not start (3.9).
func (o *overrides) tls() {
	if o.m.Setting("ssl") != "on" {
		return
	}
	var missing []string
	for name, byDefault := range map[string]string{"ssl_cert_file": "server.crt", "ssl_key_file": "server.key"} {
		file := cmp.Or(o.m.Setting(name), byDefault)
		if !o.p.readable(file) {
			missing = append(missing, file)
		}
	}
	slices.Sort(missing)
	passphrase := slices.ContainsFunc(o.m.Settings, func(s Setting) bool { return s.Name == "ssl_passphrase_command" && s.Redacted })
	const until = "clients that insist on TLS cannot connect until it is set up here"
	switch {
	case o.p.Host.lacks("openssl"):
		o.set("ssl", "off", "PostgreSQL on this host is built without TLS; clients that insist on it cannot connect")
	case len(missing) > 0:
		o.set("ssl", "off", "%s did not come along, being outside the data directory; %s", strings.Join(missing, " and "), until)
	case passphrase:
		o.set("ssl", "off", "the key has a passphrase, which is not known here; %s", until)
	}
	for _, name := range []string{"ssl_ca_file", "ssl_crl_file", "ssl_dh_params_file"} {
		if file := o.m.Setting(name); file != "" && !o.p.readable(file) {
			o.set(name, "", "%s did not come along, being outside the data directory", file)
		}
	}
}

// fences lifts one that was set on the primary, and came along in the copy (4.0, 4.1).
func (o *overrides) fences() {
	if o.m.Setting("default_transaction_read_only") == "on" {
		o.set("default_transaction_read_only", "off", "on the primary it may have been a fence; set it again if it was not")
	}
}

// subscriptions must not take over the publisher's slot from a primary that may still live (3.4).
func (o *overrides) subscriptions() {
	if len(o.m.Pipelines.Enabled()) == 0 {
		return
	}
	o.CommandLine["max_logical_replication_workers"] = "0"
}

// listNever says which settings of the primary an operator may miss.
func (o *overrides) listNever() {
	for _, s := range o.m.Settings {
		here, bound := never[s.Name]
		if !bound || s.Source == "default" || s.Value == here && !s.Redacted || s.outside() && o.m.Managed {
			continue
		}
		switch s.Name {
		case "archive_mode", "archive_command", "archive_library":
			o.list(s.Name, here, "WAL of a new place must not go into the primary's archive")
		case "synchronous_standby_names":
			o.list(s.Name, here, "the standbys it names are not here")
		default:
			o.list(s.Name, here, "it belongs to the place that the copy came from")
		}
	}
}
