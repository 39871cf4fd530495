package metadata

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/smartdr/smartdr/internal/wal"
)

// Place is where a restored server is to run.
type Place struct {
	DataDir    string
	SocketDir  string
	Listen     string
	Port       int
	HBAFile    string
	IdentFile  string
	ConfigFile string         // empty: the one in DataDir
	Admin      string         // the superuser that SmartDR connects as, through the socket
	Isolated   bool           // a drill or a branch: no background jobs
	Minimums   wal.Parameters // the largest that the WAL asks for
	Host       Host
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

// never are settings that a restored server must not inherit: they would follow or feed what belongs to the old place
// (postgres-edge-cases 2.6, 2.26).
var never = map[string]string{
	"primary_conninfo": "", "primary_slot_name": "", "restore_command": "", "archive_cleanup_command": "", "recovery_end_command": "",
	"archive_mode": "off", "archive_command": "", "archive_library": "", "synchronous_standby_names": "", "recovery_min_apply_delay": "0",
	"recovery_target": "", "recovery_target_lsn": "", "recovery_target_name": "", "recovery_target_time": "", "recovery_target_xid": "",
	"unix_socket_group": "",
}

// overrides collects what Overrides returns.
type overrides struct {
	m        Metadata
	p        Place
	settings map[string]string
	notes    []string
}

func (o *overrides) note(format string, args ...any) {
	o.notes = append(o.notes, fmt.Sprintf(format, args...))
}

// Overrides returns the settings that a restored server is started with by -c, where they win over every file, and what
// differs from the primary and why. As little as possible is overridden, since ALTER SYSTEM has no effect on it.
func Overrides(m Metadata, p Place) (settings map[string]string, notes []string) {
	o := &overrides{m: m, p: p, settings: maps.Clone(never)}
	if p.ConfigFile != "" {
		o.settings["config_file"] = p.ConfigFile
	}
	for _, decide := range []func(){o.minimums, o.memory, o.libraries, o.tls, o.fences, o.subscriptions, o.tellNever} {
		decide()
	}
	return o.settings, o.notes
}

// minimums: a standby must have at least what its primary had (2.7). After a promotion they stay.
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
			o.settings[name] = strconv.Itoa(atLeast)
		}
	}
}

// memory makes the server fit a smaller host (3.10).
func (o *overrides) memory() {
	if o.m.Setting("huge_pages") == "on" {
		o.settings["huge_pages"] = "try"
	}
	if o.m.Setting("io_method") == "io_uring" {
		o.settings["io_method"] = "worker"
		o.note("io_method is worker here: io_uring needs a kernel and a build that allow it")
	}
	lowered, ok := sharedBuffers(o.m, o.p.Host)
	if !ok {
		return
	}
	o.settings["shared_buffers"] = lowered
	o.note("shared_buffers is %s here and %s on the primary: this host has %s of memory", lowered, o.m.Setting("shared_buffers"), size(o.p.Host.MemoryBytes))
	for name, share := range map[string]int64{"effective_cache_size": 2, "maintenance_work_mem": 16, "autovacuum_work_mem": 16} {
		if n, ok := parseSize(o.m.Setting(name)); ok && n > o.p.Host.MemoryBytes/share {
			o.settings[name] = megabytes(o.p.Host.MemoryBytes / share)
		}
	}
}

// sharedBuffers returns a quarter of the host's memory if the primary's shared_buffers are more than two fifths of it.
func sharedBuffers(m Metadata, h Host) (lowered string, ok bool) {
	n, known := parseSize(m.Setting("shared_buffers"))
	if !known || h.MemoryBytes <= 0 || n <= h.MemoryBytes/5*2 {
		return "", false
	}
	return megabytes(h.MemoryBytes / 4), true
}

func megabytes(n int64) string { return strconv.FormatInt(max(n>>20, 16), 10) + "MB" }

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
		if len(missing) > 0 {
			o.note("%s goes without %s, which this host does not have", setting, strings.Join(missing, ", "))
		}
		if o.p.Isolated {
			keep = slices.DeleteFunc(keep, func(l string) bool { return slices.Contains(jobLibraries, strings.TrimPrefix(l, "$libdir/")) })
		}
		if len(keep) < len(all) {
			o.settings[setting] = joinList(keep)
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
		file := o.m.Setting(name)
		if file == "" {
			file = byDefault
		}
		if !o.p.readable(file) {
			missing = append(missing, file)
		}
	}
	slices.Sort(missing)
	passphrase := slices.ContainsFunc(o.m.Settings, func(s Setting) bool { return s.Name == "ssl_passphrase_command" && s.Redacted })
	switch {
	case o.p.Host.lacks("openssl"):
		o.settings["ssl"] = "off"
		o.note("TLS is off: PostgreSQL on this host is built without it; clients that insist on TLS cannot connect")
	case len(missing) > 0:
		o.settings["ssl"] = "off"
		o.note("TLS is off: %s did not come along, being outside the data directory; clients that insist on TLS cannot connect until it is set up here", strings.Join(missing, " and "))
	case passphrase:
		o.settings["ssl"] = "off"
		o.note("TLS is off: its key has a passphrase, which is not known here; clients that insist on TLS cannot connect until it is set up here")
	}
	for _, name := range []string{"ssl_ca_file", "ssl_crl_file", "ssl_dh_params_file"} {
		if file := o.m.Setting(name); file != "" && !o.p.readable(file) {
			o.settings[name] = ""
			o.note("%s is empty: %s did not come along, being outside the data directory", name, file)
		}
	}
}

// fences lifts one that was set on the primary, and came along in the copy (4.0, 4.1).
func (o *overrides) fences() {
	if o.m.Setting("default_transaction_read_only") == "on" {
		o.settings["default_transaction_read_only"] = "off"
		o.note("default_transaction_read_only is off here: on the primary it was on, which may have been a fence")
	}
}

// subscriptions must not take over the publisher's slot from a primary that may still live (3.4).
func (o *overrides) subscriptions() {
	if len(o.m.Subscriptions) == 0 {
		return
	}
	o.settings["max_logical_replication_workers"] = "0"
	o.note("subscriptions do not run here (%s): compare pg_replication_origin_status with the publisher's slot, then start the server without max_logical_replication_workers=0",
		strings.Join(o.m.Subscriptions, ", "))
}

// tellNever says which settings of the primary an operator may miss.
func (o *overrides) tellNever() {
	if v := o.m.Setting("archive_mode"); v == "on" || v == "always" {
		o.note("archive_mode is off here: WAL of a new place must not go into the primary's archive")
	}
	if v := o.m.Setting("synchronous_standby_names"); v != "" {
		o.note("synchronous_standby_names is empty here and %q on the primary: the standbys it names are not here", v)
	}
}
