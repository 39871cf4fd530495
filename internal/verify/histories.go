package verify

import (
	"context"
	"fmt"
	"strings"

	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// histories reads the history files.
func (ws *workspace) histories(ctx context.Context) error {
	for _, info := range ws.here.prefixed(ws.prefix() + "wal/") {
		if !strings.HasSuffix(info.Key, ".history") {
			continue
		}
		b, _, err := ws.here.Get(ctx, info.Key)
		if err != nil {
			return err
		}
		h, err := wal.ParseHistory(b)
		switch {
		case err != nil:
			ws.badHistory(info.Key, topology.FindingAltered, "it cannot be read: "+err.Error())
		case ws.strays(info.Key, h) != "":
			ws.badHistory(info.Key, topology.FindingInconsistent, ws.strays(info.Key, h))
		case ws.differs(ctx, info.Key, b):
			ws.add(finding{Finding: topology.Finding{Kind: topology.FindingInconsistent, Severity: topology.SeverityDamaged, Workspace: ws.Name, Key: info.Key,
				What:        "It has another content than the one in the bucket of " + ws.elsewhere + ".",
				Consequence: []string{"One of the two buckets leads a restore of this lineage astray."}, Repair: "Compare both with the file in pg_wal of the server that wrote it."}})
		}
	}
	return nil
}

func (ws *workspace) badHistory(key string, kind topology.FindingKind, what string) {
	ws.unread[key] = true
	ws.add(finding{Finding: topology.Finding{Kind: kind, Workspace: ws.Name, Key: key, What: sentence(what)}, hides: []string{key}})
}

// strays says how the history of a lineage's first timeline contradicts where the group knows that the lineage began, or "".
func (ws *workspace) strays(key string, h wal.History) string {
	id, file, _ := strings.Cut(strings.TrimPrefix(key, ws.prefix()+"wal/"), "/")
	l := ws.Group.FindLineage(ws.Name, id)
	if l == nil || l.Parent == nil || file != wal.HistoryFileName(l.Start.Timeline) {
		return ""
	}
	want := wal.Position{Timeline: l.Parent.At.Timeline, LSN: l.Parent.At.LSN}
	if n := len(h); n > 0 && (wal.Position{Timeline: h[n-1].Timeline, LSN: h[n-1].LSN}) == want {
		return ""
	}
	return fmt.Sprintf("it does not say that timeline %d began at %s of timeline %d, where lineage %s did", l.Start.Timeline, want.LSN, want.Timeline, id)
}

// differs reports whether the other bucket has something else under a key.
func (ws *workspace) differs(ctx context.Context, key string, b []byte) bool {
	if !ws.hasCopy(key) {
		return false
	}
	there, _, err := ws.other.Get(ctx, key)
	return err == nil && string(there) != string(b)
}
