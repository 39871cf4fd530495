package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// documentFormat is the number of all small documents.
const documentFormat = 1

// document is one kind of the small documents of a group.
type document struct {
	pattern  *regexp.Regexp // of the key below the group's
	into     func() any     // what it is read into
	severity topology.Severity
	lost     string // in a sentence, what is not known without it
	repair   string
	bare     bool // without a format number
}

func read[T any]() any { return new(T) }

const writtenAnew = "It is written anew by itself."

// documents are all small documents of a group (docs/format.md), those of its workspaces too.
var documents = []document{
	{regexp.MustCompile(`^group\.json$`), read[topology.Group], topology.SeverityLost,
		"Nothing of the group can be restored from this bucket alone: it does not say which workspaces and lineages there are.", "", false},
	{regexp.MustCompile(`^epochs/\d{8}\.json$`), read[catalog.Claim], topology.SeverityDamaged,
		"Nothing is lost for a restore; a side that was replaced by this epoch learns of it later.", "", false},
	{regexp.MustCompile(`^operations/[^/]+/plan\.json$`), read[struct{}], topology.SeverityDamaged,
		"Nothing is lost for a restore; this operation cannot be resumed.", "", true},
	{regexp.MustCompile(`^operations/[^/]+\.json$`), read[topology.Operation], topology.SeverityDamaged,
		"Nothing is lost for a restore; the account of this operation is, and it cannot be resumed.", "", false},
	{regexp.MustCompile(`^branches/[^/]+/[^/]+\.json$`), read[topology.BranchProgress], topology.SeverityDamaged,
		"Nothing is lost for a restore; how far the branch's WAL was announced is not known.", writtenAnew, false},
	{regexp.MustCompile(`^(protection|readiness|stored|usage/[^/]+|retention/[^/]+|verify/[^/]+)\.json$`), read[struct{}], topology.SeverityNote,
		"Nothing is lost.", writtenAnew, false},
	{regexp.MustCompile(`^workspaces/[^/]+/progress/wal\.json$`), read[topology.WALProgress], topology.SeverityDamaged,
		"Nothing is lost for a restore; how far this bucket was announced to be is not known, so that a failover cannot tell whether WAL is missing at the end.", writtenAnew, false},
	{regexp.MustCompile(`^workspaces/[^/]+/progress/(snapshot|standby)\.json$`), read[struct{}], topology.SeverityNote,
		"Nothing is lost.", writtenAnew, false},
	{regexp.MustCompile(`^workspaces/[^/]+/metadata\.json$`), read[catalog.Metadata], topology.SeverityDamaged,
		"Nothing is lost for a restore; a failover takes settings, access rules and pipelines as they were at the snapshot.", writtenAnew, false},
	{regexp.MustCompile(`^workspaces/[^/]+/inventory\.json$`), read[catalog.Inventory], topology.SeverityDamaged,
		"Nothing is lost for a restore; a failover cannot tell whether roles and grants are as they were.", writtenAnew, false},
	{regexp.MustCompile(`^workspaces/[^/]+/condemned\.json$`), read[struct{}], topology.SeverityDamaged,
		"Nothing is lost for a restore; no snapshot is taken and no pack removed as long as it is so.", "Remove it: packs that nothing needs are found anew.", false},
	{regexp.MustCompile(`^workspaces/[^/]+/fences/[^/]+\.json$`), read[topology.Fence], topology.SeverityDamaged,
		"Nothing is lost for a restore; whether the server of this lineage is kept from writing is not known.", "", false},
	{regexp.MustCompile(`^workspaces/[^/]+/tails/[^/]+\.json$`), read[topology.Tail], topology.SeverityDamaged,
		"Nothing is lost for a restore; how far the tail of this lineage is, is found anew from its WAL.", "", false},
}

func documentOf(name string) *document {
	for _, some := range [][]document{documents, missingDocuments} {
		for i := range some {
			if some[i].pattern.MatchString(name) {
				return &some[i]
			}
		}
	}
	return nil
}

// decode reads a document, of whatever kind.
func decode(b []byte, into any) error {
	var head struct {
		Format *int `json:"format"`
	}
	switch err := json.Unmarshal(b, &head); {
	case err != nil:
		return err
	case head.Format == nil:
		return fmt.Errorf("it has no format number")
	case *head.Format != documentFormat:
		return fmt.Errorf("it is of format %d, which this version does not know", *head.Format)
	}
	return json.Unmarshal(b, into)
}

// documents reads all small documents, and finds those that ought to be there.
func (w *walk) documents(ctx context.Context) error {
	if err := w.marker(ctx); err != nil {
		return err
	}
	for _, info := range w.here.keys {
		name := strings.TrimPrefix(info.Key, w.prefix())
		d := documentOf(name)
		switch {
		case d != nil:
			if err := w.document(ctx, d, info.Key); err != nil {
				return err
			}
		case !strings.HasPrefix(name, "workspaces/"):
			w.unknown(info)
		}
	}
	w.expected()
	w.strangers()
	return nil
}

func (w *walk) document(ctx context.Context, d *document, key string) error {
	b, _, err := w.here.Get(ctx, key)
	if fault.Is(err, fault.Missing) {
		return nil // such documents come and go; those that must not are looked for
	}
	if err != nil {
		return err
	}
	into := d.into()
	if err = decode(b, into); d.bare {
		err = json.Unmarshal(b, into)
	}
	if g, is := into.(*topology.Group); is && err == nil {
		err = w.group(g, key)
	}
	if err != nil {
		w.add(d.finding(topology.FindingAltered, key, "it cannot be read: "+err.Error()))
	}
	return nil
}

func (d *document) finding(kind topology.FindingKind, key, what string) finding {
	return finding{Finding: topology.Finding{Kind: kind, Severity: d.severity, Key: key, Workspace: workspaceOf(key), What: sentence(what),
		Consequence: []string{d.lost}, Repair: d.repair}}
}

// group compares the group's document with the one that the catalog goes by.
func (w *walk) group(g *topology.Group, key string) error {
	if err := g.Validate(); err != nil {
		return err
	}
	if g.Name != w.Group.Name || g.ID != w.Group.ID {
		return fmt.Errorf("it is of group %q with id %s", g.Name, g.ID)
	}
	info, _ := w.here.find(key)
	if g.Revision < w.Group.Revision && w.other != nil {
		if newer, ok := w.other.find(key); ok && w.old(newer) && w.old(info) {
			w.add(finding{Finding: topology.Finding{Kind: topology.FindingInconsistent, Severity: topology.SeverityDamaged, Key: key,
				What:        fmt.Sprintf("It is of revision %d, and the bucket of %s has revision %d.", g.Revision, w.elsewhere, w.Group.Revision),
				Consequence: []string{"From this bucket alone what has changed since is not known."}}})
		}
	}
	return nil
}

// marker looks at what says that the bucket is SmartDR's.
func (w *walk) marker(ctx context.Context) error {
	b, _, err := w.Stores[w.Region].Get(ctx, objectstore.MarkerKey)
	var m objectstore.Marker
	switch {
	case fault.Is(err, fault.Missing):
		w.add(storeFinding(topology.FindingMissing, "it is not there"))
		return nil
	case err != nil:
		return err
	}
	if err := decode(b, &m); err != nil || m.ID == "" {
		w.add(storeFinding(topology.FindingAltered, fmt.Sprintf("it cannot be read: %v", err)))
	}
	return nil
}

func storeFinding(kind topology.FindingKind, what string) finding {
	return finding{Finding: topology.Finding{Kind: kind, Severity: topology.SeverityDamaged, Key: objectstore.MarkerKey, What: sentence(what),
		Consequence: []string{"Nothing is lost for a restore; that two regions are not one and the same bucket cannot be told."},
		Repair:      "Remove it if it is there: `smartdr regions` writes it anew."}}
}

// expected finds documents that ought to be there and are not.
func (w *walk) expected() {
	w.expect("group.json", "it is not there")
	newest := max(w.Group.Epoch, 1)
	if c := w.Group.Claimed; c != nil {
		newest = max(newest, c.Epoch-1) // the claim's document follows it
	}
	for e := topology.Epoch(1); e <= newest; e++ {
		w.expect(fmt.Sprintf("epochs/%08d.json", e), fmt.Sprintf("the claim of epoch %d is not there, and epoch %d was claimed", e, newest))
	}
	if op := w.Group.Operation; op != nil {
		w.expect("operations/"+op.ID+".json", "it holds the group, and its document is not there")
	}
	if w.other == nil {
		return
	}
	for _, ws := range w.Group.Workspaces {
		for _, name := range []string{"metadata.json", "inventory.json"} {
			key := "workspaces/" + ws.Name + "/" + name
			if info, ok := w.other.find(w.prefix() + key); ok && w.old(info) {
				w.expect(key, "it is not there, and the bucket of "+w.elsewhere+" has it")
			}
		}
	}
}

func (w *walk) expect(name, what string) {
	if _, ok := w.here.find(w.prefix() + name); !ok {
		w.add(documentOf(name).finding(topology.FindingMissing, w.prefix()+name, what))
	}
}

// unknown notes an object of which nobody knows what it is.
func (w *walk) unknown(info objectstore.Info) {
	if !w.old(info) {
		return
	}
	w.add(finding{Finding: topology.Finding{Kind: topology.FindingUnknown, Severity: topology.SeverityNote, Key: info.Key, Workspace: workspaceOf(info.Key),
		What:        fmt.Sprintf("It is not of the layout that this version knows; it has %d bytes.", info.Size),
		Consequence: []string{nothingLost}, Repair: "It is never removed by itself: remove it if it is nobody's."}})
}

const nothingLost = "Nothing is lost."

// strangers finds workspaces that the group does not know.
func (w *walk) strangers() {
	seen := map[string]bool{}
	for _, info := range w.here.prefixed(w.prefix() + "workspaces/") {
		name := workspaceOf(info.Key)
		if w.Group.Workspace(name) != nil || seen[name] || !w.old(info) {
			continue
		}
		seen[name] = true
		w.add(finding{Finding: topology.Finding{Kind: topology.FindingOrphaned, Severity: topology.SeverityNote, Key: w.prefix() + "workspaces/" + name + "/",
			What:        fmt.Sprintf("There are objects of a workspace %q, which the group does not have.", name),
			Consequence: []string{nothingLost}, Repair: "They are never removed by themselves: remove them if nobody needs them."}})
	}
}

// workspaceOf returns whose a key is, or "".
func workspaceOf(key string) string {
	parts := strings.Split(key, "/")
	if len(parts) < 5 || parts[2] != "workspaces" {
		return ""
	}
	return parts[3]
}

// sentence makes one of what begins in lower case and has no full stop.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + strings.TrimSuffix(s[1:], ".") + "."
}
