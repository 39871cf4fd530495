package preflight

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/topology"
)

const (
	oldestVersion = 150000 // BASE_BACKUP's present framing came with 15
	// ownSenders is what we use at a time: the WAL stream and a base backup.
	ownSenders = 2
	// newestVersion is the first that nobody has tried.
	newestVersion = 190000
)

// firstSafe are the minor releases of each major that no longer loop for ever over a damaged page at the end of a timeline
// (commit 6cf1647d87, February 2025).
var firstSafe = map[int]int{15: 150011, 16: 160007, 17: 170003}

// judge says what the facts mean. It does no I/O.
func judge(f Facts, opts Options) (problems, warnings []Finding) {
	for _, rule := range blocking {
		if p, found := rule(f, opts); found {
			problems = append(problems, p)
		}
	}
	problems = append(problems, judgeDatabases(f, opts)...)
	for _, rule := range notable {
		if w, found := rule(f, opts); found {
			warnings = append(warnings, w)
		}
	}
	return problems, warnings
}

type rule func(Facts, Options) (Finding, bool)

var blocking = []rule{
	func(f Facts, _ Options) (Finding, bool) {
		return Finding{"version", fmt.Sprintf("The server is PostgreSQL %d.", f.ServerVersion/10000),
			"Upgrade it to 15 or newer."}, f.ServerVersion < oldestVersion
	},
	func(f Facts, _ Options) (Finding, bool) {
		return Finding{"standby", "The server is a standby.",
			"Name the primary, or all servers of the cluster with target_session_attrs=read-write."}, f.InRecovery
	},
	func(f Facts, _ Options) (Finding, bool) {
		return Finding{"wal-level", "wal_level is minimal: the WAL does not hold what a replica needs.",
			"Set wal_level to replica or logical and restart the server."}, f.WALLevel == "minimal"
	},
	func(f Facts, _ Options) (Finding, bool) {
		return Finding{"replication-privilege", fmt.Sprintf("Role %q may not replicate.", f.Role),
			fmt.Sprintf("Run: ALTER ROLE %s REPLICATION;", quoted(f.Role))}, !f.MayReplicate
	},
	func(f Facts, opts Options) (Finding, bool) {
		return Finding{"slot-name", fmt.Sprintf("Slot %q is a logical one.", opts.SlotName), "Drop it, or rename the workspace."}, f.SlotType == "logical"
	},
	func(f Facts, opts Options) (Finding, bool) {
		return Finding{"slots", fmt.Sprintf("All %d replication slots are in use.", f.MaxSlots),
			"Raise max_replication_slots and restart the server, or drop a slot that nobody needs."}, f.SlotType == "" && f.UsedSlots >= f.MaxSlots
	},
	func(f Facts, _ Options) (Finding, bool) {
		return Finding{"senders", fmt.Sprintf("%d of %d WAL senders are in use, and two more are needed.", f.UsedSenders, f.MaxSenders),
			"Raise max_wal_senders and restart the server."}, f.UsedSenders+ownSenders > f.MaxSenders
	},
}

var notable = []rule{
	func(f Facts, _ Options) (Finding, bool) {
		return Finding{"fence", fmt.Sprintf("Role %q is no superuser: after a failover the old server could be kept from taking writes only in part, and it cannot be moved by a switchover.", f.Role),
			fmt.Sprintf("If you want that, run: ALTER ROLE %s SUPERUSER; or stop the old server yourself when it is to be left.", quoted(f.Role))}, !f.Superuser
	},
	func(f Facts, _ Options) (Finding, bool) {
		return Finding{"full-page-writes", "full_page_writes is off: a page torn by a crash of the server cannot be repaired there, and stays torn in a copy.",
			"Turn it on unless the file system never tears pages."}, !f.FullPageWrites
	},
	func(f Facts, _ Options) (Finding, bool) {
		return Finding{"slot-limit", "max_slot_wal_keep_size has no limit: while nobody ships, WAL is kept until the disk is full.",
			"Set it to what the disk can spare; when it is exceeded a new snapshot is taken by itself."}, f.MaxSlotWALKeepMB < 0
	},
	func(f Facts, opts Options) (Finding, bool) {
		return Finding{"synchronous", "synchronous_standby_names names us: commits wait for the object store.",
			fmt.Sprintf("Name the servers that commits should wait for instead of %q.", f.SynchronousStandbys)}, waitsFor(f.SynchronousStandbys, opts.AppName)
	},
	func(f Facts, _ Options) (Finding, bool) {
		return Finding{"idle-slot", "idle_replication_slot_timeout is set: a slot that nobody used for so long is lost, and a new snapshot must be taken.",
			"Set it to 0, or well above the longest outage of the object stores or workers."}, f.IdleSlotTimeout > 0
	},
	func(f Facts, _ Options) (Finding, bool) {
		return Finding{"read-settings", fmt.Sprintf("Role %q may not read all settings: some are missing in the metadata.", f.Role),
			fmt.Sprintf("Run: GRANT pg_read_all_settings TO %s;", quoted(f.Role))}, !f.MayReadSettings && !f.Superuser
	},
	func(f Facts, _ Options) (Finding, bool) {
		return Finding{"early-15", "PostgreSQL 15.0 to 15.2 could damage system tables when CREATE DATABASE ran.",
			"Update to the newest minor version."}, f.ServerVersion >= oldestVersion && f.ServerVersion < 150003
	},
	func(f Facts, _ Options) (Finding, bool) {
		return Finding{"old-minor", "A standby of this minor version can hang where one timeline ends and another begins, and so could a recovery.",
			"Update to the newest minor version."}, f.ServerVersion < firstSafe[f.ServerVersion/10000]
	},
	func(f Facts, _ Options) (Finding, bool) {
		return Finding{"new-version", fmt.Sprintf("PostgreSQL %d is newer than what this version of SmartDR was tried with.", f.ServerVersion/10000),
			"Try a failover before you rely on it."}, f.ServerVersion >= newestVersion
	},
	func(f Facts, _ Options) (Finding, bool) {
		return Finding{"pooler", "The connection goes through a pooler, which may end replication at any time.",
			"Name the server itself in the connection string."}, f.Pooled
	},
	func(f Facts, opts Options) (Finding, bool) {
		return managed(f, opts), f.Manager != ""
	},
	func(f Facts, _ Options) (Finding, bool) {
		return Finding{"in-place-tablespace", fmt.Sprintf("Tablespace %s lies inside the data directory (allow_in_place_tablespaces), which is made for tests of PostgreSQL.", strings.Join(f.InPlaceTablespaces, ", ")),
			"Move what is in it to another tablespace."}, len(f.InPlaceTablespaces) > 0
	},
	func(f Facts, _ Options) (Finding, bool) {
		return Finding{"prepared-transactions", fmt.Sprintf("%d prepared transactions are open; after a failover they are still open and hold their locks.", len(f.PreparedTransactions)),
			"Commit or roll them back if nobody will."}, len(f.PreparedTransactions) > 0
	},
}

// managed says what a manager of high availability does to slots that it did not make.
func managed(f Facts, opts Options) Finding {
	text := fmt.Sprintf("%s manages this server: our slot %q may be gone after a failover within the cluster, and then a new snapshot is taken.", f.Manager, opts.SlotName)
	if f.Manager == "Patroni" {
		return Finding{"managed", text, fmt.Sprintf("Add to its dynamic configuration: slots: {%s: {type: physical}}.", opts.SlotName)}
	}
	return Finding{"managed", text, "Let it copy slots of users (replicationSlots.synchronizeReplicas)."}
}

// judgeDatabases looks at what an interrupted command left, and at what leaving databases out would break.
func judgeDatabases(f Facts, opts Options) (problems []Finding) {
	for _, d := range f.Databases {
		if !d.Valid {
			problems = append(problems, Finding{"invalid-database", fmt.Sprintf("Database %q is left over from a DROP DATABASE that was interrupted.", d.Name),
				fmt.Sprintf("Run: DROP DATABASE %s;", quoted(d.Name))})
		}
	}
	for _, p := range f.PreparedTransactions {
		if opts.Only && !slices.Contains(opts.Databases, p.Database) && !slices.Contains(topology.SystemDatabases, p.Database) {
			problems = append(problems, Finding{"prepared-left-out", fmt.Sprintf("Prepared transaction %q is open in database %q, which would be left out: that database could not be dropped after a failover.", p.GID, p.Database),
				"Commit it or roll it back, or replicate the database too."})
		}
	}
	return problems
}

// waitsFor reports whether a setting of synchronous_standby_names (the manual's section of that name) lists name or *.
func waitsFor(setting, name string) bool {
	for _, word := range strings.FieldsFunc(setting, func(r rune) bool { return strings.ContainsRune(" ,()", r) }) {
		word = strings.Trim(word, `"`)
		if word == "*" || strings.EqualFold(word, name) {
			return true
		}
	}
	return false
}

// quoted writes an identifier as SQL wants it.
func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }
