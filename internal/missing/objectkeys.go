package missing

import (
	"context"
	"encoding/hex"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/wal"
)

// Place is what the objects of one database of a comparison have in common (docs/format.md).
type Place struct {
	Group, Workspace, Lineage string
	Tip                       wal.LSN
	Database                  string
}

// Prefix begins the keys of all that is kept of missing rows in a workspace.
func Prefix(group, workspace string) string {
	return "groups/" + group + "/workspaces/" + workspace + "/missing/"
}

func (p Place) prefix() string {
	return fmt.Sprintf("%s%s/%016X/%s/", Prefix(p.Group, p.Workspace), p.Lineage, uint64(p.Tip), databaseKey(p.Database))
}

// SetKey is the key of the database's set; whole is for one of tables that were compared as a whole because somebody asked for it.
func (p Place) SetKey(whole bool) string {
	if whole {
		return p.prefix() + "set-whole.json"
	}
	return p.prefix() + "set.json"
}

// ReportKey is the key of what a run found.
func (p Place) ReportKey(run string) string { return p.prefix() + "report-" + run + ".json" }

// UndoKey is the key of what leads back from a merge: of a run, by a transaction.
func (p Place) UndoKey(run string, xid uint64) string {
	return fmt.Sprintf("%sundo-%s-%016x.json", p.prefix(), run, xid)
}

var plainDatabase = regexp.MustCompile(`^[a-z0-9_-]{1,63}$`)

// databaseKey is a database's name as part of a key, which not every name can be: others are written in hexadecimal digits.
func databaseKey(name string) string {
	if plainDatabase.MatchString(name) {
		return name
	}
	return "hex." + hex.EncodeToString([]byte(name))
}

// Kind is what an object of a comparison is.
type Kind string

// The kinds of objects.
const (
	SetObject       Kind = "set"
	ReportObject    Kind = "report"
	UndoObject      Kind = "undo"
	DecisionsObject Kind = "decisions"
)

// Key is what a key says of its object.
type Key struct {
	Kind    Kind
	Lineage string  // empty for decisions, as is what follows
	Tip     wal.LSN // 0 likewise
	// Database is the part of the key that stands for the database.
	Database string
	// Part is the SHA-256 that the object must have, in hexadecimal; empty for the document that names the parts.
	Part string
}

var (
	objectFile = regexp.MustCompile(`^(\d{4,}-[0-9a-f]{8})/([0-9A-F]{16})/([a-z0-9_.-]+)/(set|report|undo)(-[a-z0-9-]+)?(?:\.json|/\d{6}-([0-9a-f]{64}))$`)
	choiceFile = regexp.MustCompile(`^decisions-[0-9a-f]{64}\.json$`)
)

// ParseKey reads a key below Prefix; false for one that is not of the known layout.
func ParseKey(name string) (k Key, ok bool) {
	if choiceFile.MatchString(name) {
		return Key{Kind: DecisionsObject}, true
	}
	m := objectFile.FindStringSubmatch(name)
	if m == nil {
		return Key{}, false
	}
	tip, err := strconv.ParseUint(m[2], 16, 64)
	return Key{Kind: Kind(m[4]), Lineage: m[1], Tip: wal.LSN(tip), Database: m[3], Part: m[6]}, err == nil
}

// UndoKeys returns the keys of all undo records of a database of a lineage, oldest first: of older tips, and of runs whose names begin with the
// moment. Which of them count is said by the server
// (Undo.XID).
func UndoKeys(ctx context.Context, store objectstore.Store, group, workspace, lineage, database string) (keys []string, err error) {
	prefix := Prefix(group, workspace)
	for info, err := range store.List(ctx, prefix+lineage+"/", "") {
		if err != nil {
			return nil, err
		}
		k, known := ParseKey(strings.TrimPrefix(info.Key, prefix))
		if known && k.Kind == UndoObject && k.Part == "" && path.Base(path.Dir(info.Key)) == databaseKey(database) {
			keys = append(keys, info.Key)
		}
	}
	slices.Sort(keys)
	return keys, nil
}
