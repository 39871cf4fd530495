package fence

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
)

const (
	// missingLibrary is what no installation has. A session that cannot load it ends.
	missingLibrary = "smartdr_fenced"
	// never is the longest time that a setting in milliseconds can say: 24 days.
	never = "2147483647"
	// markSetting says in postgresql.auto.conf who fenced, and what the settings were before.
	markSetting = "smartdr.fence"
)

// mark is the content of markSetting.
type mark struct {
	Lineage string             `json:"lineage"`
	By      string             `json:"by"`
	Before  map[string]*string `json:"before"` // as ALTER SYSTEM had them; nil: it had none
	ForGood bool               `json:"forGood,omitempty"`
	// NoRules: pg_hba.conf could not be changed.
	NoRules bool `json:"noRules,omitempty"`
}

// setting is one that a fence replaces.
type setting struct {
	name, value string
	restart     bool // it takes effect with a restart alone
}

// settings are in the order in which they are set: when the last one is in force, all are.
func settings(forGood bool) []setting {
	all := []setting{
		{name: "session_preload_libraries", value: missingLibrary},
		{name: "default_transaction_read_only", value: "on"},
	}
	if forGood { // workers of subscriptions do not even start with the server
		all = append(all, setting{name: "max_logical_replication_workers", value: "0", restart: true})
	}
	return append(all, setting{name: "wal_retrieve_retry_interval", value: never})
}

// ownSettings returns what ALTER SYSTEM has set, from the file: it may not be in force yet.
func (s *session) ownSettings(ctx context.Context) (map[string]string, error) {
	rows, err := s.Query(ctx, `SELECT name, coalesce(setting, '') FROM pg_file_settings WHERE sourcefile LIKE '%/postgresql.auto.conf' ORDER BY seqno`)
	if err != nil {
		return nil, failed("read postgresql.auto.conf", err)
	}
	own := map[string]string{}
	var name, value string
	for rows.Next() {
		if err := rows.Scan(&name, &value); err != nil {
			break // Err says it
		}
		own[name] = value
	}
	rows.Close()
	return own, failed("read postgresql.auto.conf", rows.Err())
}

// readMark returns the mark of a fence; nil when there is none.
func readMark(own map[string]string) (*mark, error) {
	text, there := own[markSetting]
	if !there || text == "" {
		return nil, nil
	}
	var m mark
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return nil, fault.Newf(fault.Corrupt, "read fence", "%s in postgresql.auto.conf is damaged: %w", markSetting, err).
			WithHint("Set session_preload_libraries, default_transaction_read_only, wal_retrieve_retry_interval and max_logical_replication_workers by ALTER SYSTEM as they ought to be, and reset %s.", markSetting)
	}
	return &m, nil
}

// set puts the settings in postgresql.auto.conf, the mark with what was there before them.
func (a *applying) set(ctx context.Context) error {
	own, err := a.ownSettings(ctx)
	if err != nil {
		return err
	}
	if a.noSettings {
		a.because("allow_alter_system is off, so that no setting can be put in the way of sessions")
		return nil
	}
	m, err := a.putMark(ctx, own)
	if err != nil {
		return err
	}
	a.result.Before, a.mark = m.Before, m
	for _, want := range settings(a.options.ForGood) {
		if own[want.name] == want.value {
			continue
		}
		if err := a.alter(ctx, want.name, &want.value); err != nil {
			return err
		}
	}
	a.by("transactions begin read-only, also those of background workers")
	a.by("workers of subscriptions are not started again")
	return nil
}

// putMark records what the settings were, unless an earlier attempt has: by then they are the fence's.
func (a *applying) putMark(ctx context.Context, own map[string]string) (mark, error) {
	there, err := readMark(own)
	if err != nil {
		return mark{}, err
	}
	m := mark{Lineage: a.options.Lineage.ID, By: a.options.By, ForGood: a.options.ForGood, Before: map[string]*string{}}
	if there != nil {
		m.Before, m.NoRules = there.Before, there.NoRules
	}
	for _, s := range settings(true) {
		if _, known := m.Before[s.name]; known {
			continue
		}
		m.Before[s.name] = nil
		if v, set := own[s.name]; set {
			m.Before[s.name] = &v
		}
	}
	return m, a.writeMark(ctx, m, own[markSetting])
}

func (s *session) writeMark(ctx context.Context, m mark, there string) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fault.New(fault.Invalid, "fence server", err)
	}
	text := string(b)
	if text == there {
		return nil
	}
	return s.alter(ctx, markSetting, &text)
}

// alter changes or, with nil, resets one setting in postgresql.auto.conf. PostgreSQL 15 and 16 know a setting of ours only after it
// was set in the session.
func (s *session) alter(ctx context.Context, name string, value *string) error {
	statement := "ALTER SYSTEM RESET " + name
	if value != nil {
		statement = "ALTER SYSTEM SET " + name + " = " + literals(name, *value)
	}
	if name == markSetting {
		if _, err := s.Exec(ctx, `SELECT set_config($1, '', false)`, name); err != nil {
			return failed("set "+name, err)
		}
	}
	_, err := s.Exec(ctx, statement)
	if err != nil {
		return failed("set "+name, fmt.Errorf("ALTER SYSTEM: %w", err))
	}
	return nil
}

// literals writes a value for ALTER SYSTEM. A list is written item by item: as one string it would be one item.
func literals(name, value string) string {
	items := []string{value}
	if name == "session_preload_libraries" {
		items = listItems(value)
	}
	for i, item := range items {
		items[i] = literal(item)
	}
	return strings.Join(items, ", ")
}

func literal(s string) string {
	q := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(q, `\`, `\\`)
	}
	return q
}

// listItems splits a list of file names as SplitDirectoriesString does: items in double quotes keep commas and spaces.
func listItems(value string) []string {
	items := []string{}
	var item strings.Builder
	quoted, was := false, false
	flush := func() {
		text := item.String()
		if !was {
			text = strings.TrimSpace(text)
		}
		if text != "" {
			items = append(items, text)
		}
		item.Reset()
		was = false
	}
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '"' && quoted && i+1 < len(value) && value[i+1] == '"':
			item.WriteByte('"')
			i++
		case c == '"':
			quoted = !quoted
			if quoted {
				item.Reset()
				was = true
			}
		case c == ',' && !quoted:
			flush()
		case was && !quoted: // spaces behind a quoted item
		default:
			item.WriteByte(c)
		}
	}
	if flush(); len(items) == 0 {
		return []string{""}
	}
	return items
}

// reload lets the server read its files, and returns the server's clock at a moment after which every new session is a fenced one:
// the postmaster has read them before it told this session to.
func (s *session) reload(ctx context.Context) (since time.Time, err error) {
	var before time.Time
	if err := s.QueryRow(ctx, `SELECT pg_conf_load_time()`).Scan(&before); err != nil {
		return since, failed("reload settings", err)
	}
	if _, err := s.Exec(ctx, `SELECT pg_reload_conf()`); err != nil {
		return since, failed("reload settings", err)
	}
	for end := time.Now().Add(10 * time.Second); ; {
		var loaded time.Time
		if err := s.QueryRow(ctx, `SELECT pg_conf_load_time(), clock_timestamp()`).Scan(&loaded, &since); err != nil {
			return since, failed("reload settings", err)
		}
		if loaded.After(before) {
			return since, nil
		}
		if time.Now().After(end) {
			return since, fault.Newf(fault.Transient, "reload settings", "the server has not read its settings within 10 s")
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return since, err
		}
	}
}
