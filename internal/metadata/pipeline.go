package metadata

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// Pipelines are what feeds a server's databases from elsewhere, and what they feed or do by themselves.
type Pipelines struct {
	// Known is this server's own position when the positions of its subscriptions were read: what they had applied by
	// then lies before it.
	Known    wal.LSN      `json:"known,omitzero"`
	Timeline wal.Timeline `json:"timeline,omitempty"` // that Known is on
	// Applied are proofs of how far subscriptions were, which are announced much more often than this is captured.
	Applied       []topology.Applied `json:"-"`
	Subscriptions []Subscription     `json:"subscriptions,omitempty"`
	Publications  []Publication      `json:"publications,omitempty"`
	Slots         []LogicalSlot      `json:"slots,omitempty"`
	Servers       []ForeignServer    `json:"foreignServers,omitempty"`
	Jobs          []Job              `json:"jobs,omitempty"`
	Triggers      []EventTrigger     `json:"eventTriggers,omitempty"`
}

// Subscription is one of logical replication, without its connection string.
type Subscription struct {
	Database     string   `json:"database"`
	Name         string   `json:"name"`
	Enabled      bool     `json:"enabled"`
	Owner        string   `json:"owner"`
	Publications []string `json:"publications"`
	Slot         string   `json:"slot,omitempty"` // on the publisher; empty for none
	TwoPhase     bool     `json:"twoPhase,omitempty"`
	Origin       string   `json:"origin,omitempty"` // which changes it wants, 16 and later: any, none
	Publisher    string   `json:"publisher,omitempty"`
	Tables       []string `json:"tables,omitempty"` // the first ones by name
	Received     wal.LSN  `json:"received,omitzero"`
	Applied      wal.LSN  `json:"applied,omitzero"` // in the publisher's WAL: everything up to it was applied, or was not for it
	Remote       wal.LSN  `json:"remote,omitzero"`  // in the publisher's WAL: end of the last transaction that was applied
}

// Publication is one of logical replication.
type Publication struct {
	Database  string `json:"database"`
	Name      string `json:"name"`
	Owner     string `json:"owner"`
	AllTables bool   `json:"allTables,omitempty"`
	Tables    int    `json:"tables"` // that it names one by one
}

// LogicalSlot is one that somebody reads this server's changes from.
type LogicalSlot struct {
	Name      string  `json:"name"`
	Plugin    string  `json:"plugin"`
	Database  string  `json:"database"`
	Confirmed wal.LSN `json:"confirmed,omitzero"` // what its reader says it has
	Active    bool    `json:"active,omitempty"`
	TwoPhase  bool    `json:"twoPhase,omitempty"`
	Failover  bool    `json:"failover,omitempty"` // 17 and later: streaming standbys keep a copy
	Synced    bool    `json:"synced,omitempty"`   // 17 and later: it is such a copy
}

// ForeignServer is what a database reaches other servers by.
type ForeignServer struct {
	Database string   `json:"database"`
	Name     string   `json:"name"`
	Wrapper  string   `json:"wrapper"`
	Users    []string `json:"users,omitempty"` // that have a user mapping
}

// Job is one of pg_cron, without its command.
type Job struct {
	Database string `json:"database"` // that it runs in
	ID       int64  `json:"id"`
	Name     string `json:"name,omitempty"`
	Schedule string `json:"schedule"`
	User     string `json:"user"`
	Active   bool   `json:"active"`
}

// EventTrigger runs a function of its own accord.
type EventTrigger struct {
	Database string `json:"database"`
	Name     string `json:"name"`
	Event    string `json:"event"` // ddl_command_start, login, ...
	Enabled  bool   `json:"enabled"`
}

// Subscription returns one, or nil.
func (p Pipelines) Subscription(database, name string) *Subscription {
	i := slices.IndexFunc(p.Subscriptions, func(s Subscription) bool { return s.Database == database && s.Name == name })
	if i < 0 {
		return nil
	}
	return &p.Subscriptions[i]
}

// Enabled names the subscriptions that run, as "database.name".
func (p Pipelines) Enabled() (names []string) {
	for _, s := range p.Subscriptions {
		if s.Enabled {
			names = append(names, s.Database+"."+s.Name)
		}
	}
	return names
}

// Content returns what was captured without what changes all the time and matters to nobody: when it was captured, and
// how large databases are.
func (m Metadata) Content() ([]byte, error) {
	m.CapturedAt = time.Time{}
	m.Databases = slices.Clone(m.Databases)
	for i := range m.Databases {
		m.Databases[i].SizeBytes = 0
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fault.New(fault.Invalid, "write metadata", err)
	}
	return b, nil
}

// Completed takes over from an older capture what is known of the databases that could not be read this time.
func (m Metadata) Completed(older Metadata) Metadata {
	unread := func(database string) bool { return slices.Contains(m.Unread, database) }
	m.Extensions = takeOver(m.Extensions, older.Extensions, func(e Extension) bool { return unread(e.Database) })
	m.Collations = takeOver(m.Collations, older.Collations, func(c Collation) bool { return unread(c.Database) })
	m.Unlogged = takeOver(m.Unlogged, older.Unlogged, func(u Unlogged) bool { return unread(u.Database) })
	p, o := &m.Pipelines, older.Pipelines
	p.Publications = takeOver(p.Publications, o.Publications, func(x Publication) bool { return unread(x.Database) })
	p.Servers = takeOver(p.Servers, o.Servers, func(x ForeignServer) bool { return unread(x.Database) })
	p.Triggers = takeOver(p.Triggers, o.Triggers, func(x EventTrigger) bool { return unread(x.Database) })
	for i, s := range p.Subscriptions {
		if before := o.Subscription(s.Database, s.Name); before != nil && unread(s.Database) {
			p.Subscriptions[i].Tables = before.Tables
		}
	}
	return m
}

func takeOver[T any](now, before []T, wanted func(T) bool) []T {
	for _, x := range before {
		if wanted(x) {
			now = append(now, x)
		}
	}
	return now
}
