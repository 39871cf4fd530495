package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/retention"
	"github.com/smartdr/smartdr/internal/topology"
)

const (
	undoLost       = "Nothing is lost for a restore; what leads back from this merge of missing rows is."
	comparisonLost = "Nothing is lost: `smartdr missing-rows` compares again."
)

// missingDocuments are those that tell of missing rows.
var missingDocuments = []document{
	{regexp.MustCompile(`^workspaces/[^/]+/missing/.+/undo-[^/]+\.json$`), read[missing.Object], topology.SeverityDamaged, undoLost, "", false},
	{regexp.MustCompile(`^workspaces/[^/]+/missing/.+/(set|report)[^/]*\.json$`), read[missing.Object], topology.SeverityNote, comparisonLost, "Remove it: it is made anew.", false},
	{regexp.MustCompile(`^workspaces/[^/]+/missing/decisions-[^/]+\.json$`), read[missing.Decisions], topology.SeverityNote, "Nothing is lost; these decisions have to be given again.", "", false},
}

// missing finds parts that are not there, and what belongs to no system-managed database any more.
func (ws *workspace) missing(ctx context.Context) error {
	for _, o := range ws.bucket.Missing {
		switch {
		case o.Kind != missing.DecisionsObject && !ws.left(o.Lineage):
			ws.orphan(o.Object, "it tells of rows of a system-managed database that is not there any more")
		case o.Part == "" && o.Kind != missing.DecisionsObject:
			if err := ws.parts(ctx, o); err != nil {
				return err
			}
		}
	}
	return nil
}

func (ws *workspace) left(lineage string) bool {
	return slices.ContainsFunc(ws.Group.SystemManaged, func(s topology.SystemManaged) bool { return s.Workspace == ws.Name && s.Lineage == lineage })
}

// parts looks for those that a document names. One that cannot be read was found before.
func (ws *workspace) parts(ctx context.Context, o retention.MissingObject) error {
	doc, err := missing.ReadObject(ctx, ws.here, o.Object.Key)
	if fault.Is(err, fault.Missing) || fault.Is(err, fault.Corrupt) || fault.Is(err, fault.Invalid) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, p := range doc.Parts {
		d := documentOfPart(p.Key)
		if d == nil {
			continue
		}
		info, there := ws.here.find(p.Key)
		switch {
		case !there:
			ws.add(d.finding(topology.FindingMissing, p.Key, "it is not there, and "+o.Object.Key+" names it"))
		case info.Size != p.Size:
			ws.add(d.finding(topology.FindingAltered, p.Key, fmt.Sprintf("it has %d bytes instead of %d", info.Size, p.Size)))
		}
	}
	return nil
}

// documentOfPart is what a part belongs to; nil for another object.
func documentOfPart(key string) *document {
	_, name, is := strings.Cut(key, "/missing/")
	k, known := missing.ParseKey(name)
	switch {
	case !is || !known || k.Part == "":
		return nil
	case k.Kind == missing.UndoObject:
		return &missingDocuments[0]
	}
	return &missingDocuments[1]
}

// missingParts are those of a workspace that are read back.
func (r *reader) missingParts(ws *workspace, chosen func(key string) bool) (items []item) {
	for _, o := range ws.bucket.Missing {
		if o.Part != "" && chosen(o.Object.Key) {
			items = append(items, item{o.Object.Key, o.Size, func(ctx context.Context) (*Altered, error) { return part(ctx, ws, o) }})
		}
	}
	return items
}

// part compares a part with the digest that its key says.
func part(ctx context.Context, ws *workspace, o retention.MissingObject) (*Altered, error) {
	b, _, err := ws.here.Get(ctx, o.Object.Key)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != o.Part {
		return &Altered{Key: o.Object.Key, What: "its content is not what was written"}, nil
	}
	return nil, nil
}
