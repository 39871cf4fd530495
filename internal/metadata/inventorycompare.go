package metadata

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Mismatch is one thing that is not the same in two inventories.
type Mismatch struct {
	Database string // empty: of what the whole server shares
	Kind     string
	Name     string
	Fact     string // empty: the thing itself is on one side only
	A, B     string // what either side says; "" where it says nothing
}

// String says what differs between a primary and the server it is read on.
func (d Mismatch) String() string { return d.Describe("on the primary", "here") }

// Describe says what differs between two places.
func (d Mismatch) Describe(a, b string) string {
	what := d.Kind + " " + d.Name
	if d.Database != "" {
		what += " of database " + d.Database
	}
	switch {
	case d.Fact == "" && d.B == "":
		return fmt.Sprintf("%s: only %s", what, a)
	case d.Fact == "":
		return fmt.Sprintf("%s: only %s", what, b)
	case d.Fact == factDigest:
		return fmt.Sprintf("%s: not all are the same %s and %s (too many to be listed)", what, a, b)
	case strings.HasPrefix(d.Fact, secretFact):
		return fmt.Sprintf("%s: another %s %s than %s", what, strings.TrimPrefix(d.Fact, secretFact), a, b)
	}
	return fmt.Sprintf("%s: %s %s, %s", what, d.Fact, side(d.A, a), side(d.B, b))
}

func side(value, where string) string {
	if value == "" {
		value = "not set"
	}
	return value + " " + where
}

// present stands for the thing itself in a Mismatch without a Fact.
const present = "present"

// CompareInventories lists what differs between two inventories, by database, kind and name. Groups that either side could
// not see are left out. It does no I/O.
func CompareInventories(a, b Inventory) []Mismatch {
	var out []Mismatch
	for _, database := range databasesOf(a, b) {
		out = append(out, compareParts(database, a.Part(database), b.Part(database))...)
	}
	return out
}

func databasesOf(a, b Inventory) []string {
	var names []string
	for _, p := range slices.Concat(a.Parts, b.Parts) {
		names = append(names, p.Database)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func compareParts(database string, a, b *Part) []Mismatch {
	switch {
	case a == nil:
		return []Mismatch{{Kind: "what is in", Name: "database " + database, B: present}}
	case b == nil:
		return []Mismatch{{Kind: "what is in", Name: "database " + database, A: present}}
	}
	c := &comparison{database: database, a: byKindAndName(a.Items), b: byKindAndName(b.Items)}
	c.leaveOut(a, b)
	for _, key := range c.keys() {
		c.compare(key)
	}
	return c.found
}

// comparison is of one part on both sides.
type comparison struct {
	database string
	a, b     map[[2]string]Item
	hidden   map[string]string // kinds that are not compared, or the one fact of them that is not
	found    []Mismatch
}

func byKindAndName(items []Item) map[[2]string]Item {
	out := make(map[[2]string]Item, len(items))
	for _, i := range items {
		out[[2]string{i.Kind, i.Name}] = i
	}
	return out
}

func (c *comparison) keys() [][2]string {
	keys := slices.Collect(maps.Keys(c.a))
	for k := range c.b {
		if _, both := c.a[k]; !both {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(x, y [2]string) int { return slices.Compare(x[:], y[:]) })
	return keys
}

// leaveOut finds what cannot be compared: what one side could not see, and what one side listed and the other counted.
// The latter is a difference by itself.
func (c *comparison) leaveOut(a, b *Part) {
	c.hidden = map[string]string{}
	for _, r := range slices.Concat(serverReaders, databaseReaders) {
		unseen := slices.Contains(a.Unseen, r.group) || slices.Contains(b.Unseen, r.group)
		counted := slices.Contains(a.Summed, r.group) != slices.Contains(b.Summed, r.group)
		if counted && !unseen {
			c.found = append(c.found, Mismatch{Database: c.database, Kind: "number of", Name: string(r.group), Fact: factDigest})
		}
		if !unseen && !counted {
			continue
		}
		for _, kind := range r.kinds {
			if whole, known := c.hidden[kind]; !known || whole != "" {
				c.hidden[kind] = r.fact
			}
		}
	}
}

func (c *comparison) compare(key [2]string) {
	kind, name := key[0], key[1]
	hiddenFact, hidden := c.hidden[strings.TrimPrefix(kind, everyKind)]
	if hidden && hiddenFact == "" {
		return
	}
	a, inA := c.a[key]
	b, inB := c.b[key]
	switch {
	case !inB:
		c.found = append(c.found, Mismatch{Database: c.database, Kind: kind, Name: name, A: present})
		return
	case !inA:
		c.found = append(c.found, Mismatch{Database: c.database, Kind: kind, Name: name, B: present})
		return
	}
	for _, fact := range factsOf(a, b) {
		if a.Facts[fact] != b.Facts[fact] && !(hidden && fact == hiddenFact) {
			c.found = append(c.found, Mismatch{Database: c.database, Kind: kind, Name: name, Fact: fact, A: a.Facts[fact], B: b.Facts[fact]})
		}
	}
}

func factsOf(a, b Item) []string {
	names := slices.Concat(slices.Collect(maps.Keys(a.Facts)), slices.Collect(maps.Keys(b.Facts)))
	slices.Sort(names)
	return slices.Compact(names)
}

// CompareServers lists what differs between two running servers, secrets included: passwords, connection strings, options,
// and the texts of functions and views. These are compared by digests with a key that lives as long as this call, and
// nothing of them is returned. notes say what could not be read.
func CompareServers(ctx context.Context, a, b *pgx.Conn, leftOut ...string) (differences []Mismatch, notes []string, err error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	inA, notesA, err := CaptureInventory(ctx, a, InventoryOptions{key: key})
	if err != nil {
		return nil, nil, err
	}
	inB, notesB, err := CaptureInventory(ctx, b, InventoryOptions{key: key, Like: &inA})
	if err != nil {
		return nil, nil, err
	}
	notes = slices.Concat(notesA, notesB, Unseen(inA), Unseen(inB))
	slices.Sort(notes)
	return CompareInventories(inA.AfterFailover(leftOut...), inB.AfterFailover(leftOut...)), slices.Compact(notes), nil
}

// Unseen says in one sentence what the role that took an inventory may not read.
func Unseen(v Inventory) (notes []string) {
	var all []string
	for _, p := range v.Parts {
		for _, g := range p.Unseen {
			all = append(all, string(g))
		}
	}
	if len(all) == 0 {
		return nil
	}
	slices.Sort(all)
	return []string{"not compared, since only a superuser may read them: " + strings.Join(slices.Compact(all), ", ")}
}
