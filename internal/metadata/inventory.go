package metadata

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// Inventory is what a server holds that must be the same after a failover, beside the rows of its tables: roles,
// memberships, grants, ownership, default privileges, extensions, publications and so on. It holds no secret.
type Inventory struct {
	ServerVersion int    `json:"serverVersion"` // server_version_num
	Parts         []Part `json:"parts"`         // what the whole server shares comes first, then databases by name
}

// Part is what was read in one transaction: what the whole server shares, or one database.
type Part struct {
	Database string  `json:"database,omitempty"` // empty: what the whole server shares
	Look     Look    `json:"-"`                  // stored apart, so that a part that did not change has the same bytes
	Items    []Item  `json:"items"`              // by kind and name
	Summed   []Group `json:"summed,omitempty"`   // groups of kinds with too many objects to list: counted instead
	Unseen   []Group `json:"unseen,omitempty"`   // groups that the role may not read
}

// Group names kinds that are read together.
type Group string

// Look says when a part was read.
type Look struct {
	Database string    `json:"database,omitempty"`
	At       time.Time `json:"at"`  // the reader's clock
	LSN      wal.LSN   `json:"lsn"` // nothing that was seen is later in the WAL
}

// Item is one thing, and what can be said of it.
type Item struct {
	Kind  string            `json:"kind"`
	Name  string            `json:"name"` // as SQL writes it; a database as it is called
	Facts map[string]string `json:"facts,omitempty"`
}

func (i Item) compare(o Item) int {
	return cmp.Or(strings.Compare(i.Kind, o.Kind), strings.Compare(i.Name, o.Name))
}

// Part returns the part of a database, or of what the whole server shares for ""; nil for none.
func (v Inventory) Part(database string) *Part {
	i := slices.IndexFunc(v.Parts, func(p Part) bool { return p.Database == database })
	if i < 0 {
		return nil
	}
	return &v.Parts[i]
}

// Databases returns the names of all databases, also of those that have no part.
func (v Inventory) Databases() (names []string) {
	if server := v.Part(""); server != nil {
		for _, i := range server.Items {
			if i.Kind == kindDatabase {
				names = append(names, i.Name)
			}
		}
	}
	return names
}

// OldestLook returns the look of the part that was read longest ago.
func (v Inventory) OldestLook() Look {
	if len(v.Parts) == 0 {
		return Look{}
	}
	return slices.MinFunc(v.Parts, func(a, b Part) int { return a.Look.At.Compare(b.Look.At) }).Look
}

// EncodeInventory returns what was seen, the same bytes as long as nothing changed, and apart from it when it was seen.
func EncodeInventory(v Inventory) (content, looks []byte, err error) {
	when := make([]Look, len(v.Parts))
	for i, p := range v.Parts {
		when[i] = p.Look
		when[i].Database = p.Database
	}
	if looks, err = json.Marshal(when); err != nil {
		return nil, nil, fault.New(fault.Invalid, "write inventory", err)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, nil, fault.New(fault.Invalid, "write inventory", err)
	}
	return b.Bytes(), looks, nil
}

// DecodeInventory reads what EncodeInventory wrote; fault.Corrupt when it is something else.
func DecodeInventory(content, looks []byte) (Inventory, error) {
	var v Inventory
	var when []Look
	if err := json.Unmarshal(content, &v); err != nil {
		return v, fault.New(fault.Corrupt, "read inventory", err)
	}
	if err := json.Unmarshal(looks, &when); err != nil {
		return v, fault.New(fault.Corrupt, "read inventory", err)
	}
	for _, l := range when {
		if p := v.Part(l.Database); p != nil {
			p.Look = l
		}
	}
	return v, nil
}

// Completed takes over from an older inventory the parts that could not be read this time, since what is known of them is
// better than nothing. Databases that are gone are not taken over.
func (v Inventory) Completed(older Inventory) Inventory {
	server := v.Part("")
	if server == nil {
		return v
	}
	for _, p := range older.Parts {
		there := slices.ContainsFunc(server.Items, func(i Item) bool { return i.Kind == kindDatabase && i.Name == p.Database })
		if v.Part(p.Database) == nil && there {
			v.Parts = append(v.Parts, p)
		}
	}
	sortParts(v.Parts)
	return v
}

func sortParts(parts []Part) {
	slices.SortFunc(parts, func(a, b Part) int { return strings.Compare(a.Database, b.Database) })
}

// AfterFailover returns the inventory as a failover brings it back: without the databases that are left out of
// replication, and without what a failover decides anew. Both sides of a comparison want it.
func (v Inventory) AfterFailover(leftOut ...string) Inventory {
	out := Inventory{ServerVersion: v.ServerVersion}
	for _, p := range v.Parts {
		if p.Database != "" && slices.Contains(leftOut, p.Database) {
			continue
		}
		items := make([]Item, 0, len(p.Items))
		for _, i := range p.Items {
			if !belongsTo(i, leftOut) {
				items = append(items, decidedAnew(i))
			}
		}
		p.Items = items
		out.Parts = append(out.Parts, p)
	}
	return out
}

// belongsTo reports whether an item of what the whole server shares is about one of these databases, and nothing else.
func belongsTo(i Item, databases []string) bool {
	if i.Kind == kindDatabase {
		return slices.Contains(databases, i.Name)
	}
	return slices.Contains(databases, i.Facts[factDatabase]) && i.Facts[factDatabase] != ""
}

// decidedAnew drops what restorePipelines decides: whether a subscription runs, and which slot it uses.
func decidedAnew(i Item) Item {
	if i.Kind != kindSubscription {
		return i
	}
	facts := map[string]string{}
	for k, f := range i.Facts {
		if k != "enabled" && k != "slot" {
			facts[k] = f
		}
	}
	i.Facts = facts
	return i
}
