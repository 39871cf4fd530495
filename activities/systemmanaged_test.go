package activities

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// A failover that publishes a workspace records in the same step what goes on in the region that was lost; a move does not.
func TestPublishingRecordsWhatIsLeftBehind(t *testing.T) {
	for kind, want := range map[string][]string{"Failover": {"app", "billing"}, "Switchover": nil} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			target, s, o := attachedServer(t, w)
			serves := topology.Lineage{ID: servedBefore, Epoch: 1, Region: "east", SystemID: "1", SegmentSize: 16 << 20, Start: wal.Position{Timeline: 1, LSN: 16 << 20}}
			w.update(t, func(g *topology.Group) {
				ws := g.Workspace("main")
				ws.Lineage, ws.Lineages = serves.ID, []topology.Lineage{serves}
				g.Operation = &topology.OperationRef{ID: "op", Kind: kind, StartedAt: time.Unix(9000, 5)}
			})
			captured, err := json.Marshal(metadata.Metadata{Databases: []metadata.Database{
				{Name: "template0", Template: true}, {Name: "postgres", AllowConnections: true}, {Name: "app", AllowConnections: true},
				{Name: "billing", AllowConnections: true}, {Name: "closed"}, {Name: "half", AllowConnections: true, Invalid: true},
			}})
			check(t, err)
			check(t, w.Catalog.PutMetadata(t.Context(), "prod", "main", catalog.Metadata{Epoch: 1, CapturedAt: time.Unix(8000, 0), Server: captured}))
			fork := wal.Position{Timeline: 1, LSN: 20 << 20}
			in := PublishEndpointInput{Group: "prod", To: "west", Operation: "op", Epoch: 2, Workspaces: []Attached{{
				Workspace: "main", Place: Place{Instance: s.InstanceDir(), DataDir: s.DataDir, Port: s.Port, Endpoint: endpointOf("a", s.Port)},
				Lineage: topology.Lineage{ID: o.Plan.Lineage, Epoch: 2, Region: "west", SystemID: "1", SegmentSize: 16 << 20, Parent: &topology.Fork{Lineage: serves.ID, At: fork}},
			}}}
			for range 2 {
				g, err := as(t, target.PublishEndpoint, in)
				check(t, err)
				var got []string
				for _, m := range g.SystemManaged {
					got = append(got, m.Database)
					if m.Lineage != serves.ID || m.Fork != fork || m.Region != "east" || m.Operation != "op" || m.Name != m.Database+"_19700101T023000Z" {
						t.Errorf("recorded %+v", m)
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("recorded %q, want %q", got, want)
				}
			}
		})
	}
}
