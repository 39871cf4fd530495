package catalog

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

func readinessKey(group string) string { return groupsPrefix + group + "/readiness.json" }

type readinessDocument struct {
	Format int `json:"format"`
	topology.Readiness
}

func (d readinessDocument) age() age { return age{d.Epoch, d.CheckedAt} }

// PutReadiness announces what a check found, in the group's buckets. It succeeds if one of them takes it, and is
// fault.Fenced if a newer epoch was checked already.
func (c *Catalog) PutReadiness(ctx context.Context, r topology.Readiness) error {
	if err := checkNames(r.Group); err != nil {
		return err
	}
	regions, err := c.regionsOf(ctx, r.Group)
	if err != nil {
		return err
	}
	d := readinessDocument{format, r}
	body, err := json.Marshal(d)
	if err != nil {
		return fault.New(fault.Invalid, "write readiness", err)
	}
	key := readinessKey(r.Group)
	return c.spread(ctx, regions, write{key: key, overtake: newerOf[readinessDocument](key), next: func(there []byte) ([]byte, error) {
		return body, checkSupersedes(key, d, there)
	}})
}

// Readiness returns what the newest check found, among the buckets that answer; fault.Missing when nobody has checked.
func (c *Catalog) Readiness(ctx context.Context, group string) (topology.Readiness, error) {
	if err := checkNames(group); err != nil {
		return topology.Readiness{}, err
	}
	regions, err := c.regionsOf(ctx, group)
	if err != nil {
		return topology.Readiness{}, err
	}
	d, err := readNewest[readinessDocument](ctx, c, regions, readinessKey(group))
	return d.Readiness, err
}

// InventoryCapturedAt returns when a workspace's inventory was read last, without what is in it; fault.Missing for never.
func (c *Catalog) InventoryCapturedAt(ctx context.Context, group, workspace string) (time.Time, error) {
	regions, err := c.regionsOf(ctx, group)
	if err == nil {
		err = checkNames(group, workspace)
	}
	if err != nil {
		return time.Time{}, err
	}
	key := workspaceKey(group, workspace, inventoryFile)
	v, err := newestReply("read "+key, askAnnounced[Inventory](ctx, c, regions, key)) // Repeat could not bring what the document names
	return v.CapturedAt, err
}

// Copy is what one bucket knows of a group, for comparing it with the other one.
type Copy struct {
	Revision int64
	Epoch    topology.Epoch // newest claimed; 0 for none
	Err      error          // fault.Missing: the bucket answers and does not know the group
}

// Copies reads the group's document and its newest epoch from the bucket of each of its regions.
func (c *Catalog) Copies(ctx context.Context, g *topology.Group) map[string]Copy {
	replies := ask(ctx, c, groupRegions(g), func(ctx context.Context, _ string, s objectstore.Store) (Copy, error) {
		d, err := readGroup(ctx, s, g.Name)
		if err != nil {
			return Copy{}, err
		}
		newest, err := newestEpoch(ctx, s, g.Name)
		return Copy{Revision: d.group.Revision, Epoch: newest}, err
	})
	out := map[string]Copy{}
	for region, r := range replies {
		r.value.Err = r.err
		out[region] = r.value
	}
	return out
}

// Stamp is an announcement's time twice: by its writer's clock, and by the bucket's when it arrived.
type Stamp struct {
	Writer string // as "host w1" or "the shipper of workspace main"
	Said   time.Time
	Stored time.Time
}

// Stamps reads when the hosts of a region, and the shippers of a group, last announced something in that region's bucket.
// Since the writer stamps right before it writes, the two times differ by the difference of the clocks and a request.
func (c *Catalog) Stamps(ctx context.Context, g *topology.Group, region string) ([]Stamp, error) {
	replies := ask(ctx, c, []string{region}, func(ctx context.Context, _ string, s objectstore.Store) ([]Stamp, error) {
		sources := []stampSource{}
		hosts, err := listHosts(ctx, s)
		if err != nil {
			return nil, err
		}
		for _, h := range hosts {
			sources = append(sources, stampSource{"host " + h.Name, hostKey(h.Name)})
		}
		for _, w := range g.Workspaces {
			sources = append(sources, stampSource{"the shipper of workspace " + w.Name, workspaceKey(g.Name, w.Name, walFile)})
		}
		return readStamps(ctx, s, sources)
	})
	return replies[region].value, replies[region].err
}

type stampSource struct{ writer, key string }

// readStamps passes over what is not there or cannot be read: others say so.
func readStamps(ctx context.Context, s objectstore.Store, sources []stampSource) ([]Stamp, error) {
	out := make([]Stamp, len(sources))
	errs := make([]error, len(sources))
	var wg sync.WaitGroup
	for i, src := range sources {
		wg.Go(func() { out[i], errs[i] = readStamp(ctx, s, src) })
	}
	wg.Wait()
	for _, err := range errs {
		if fault.Is(err, fault.Transient) {
			return nil, err
		}
	}
	return slices.DeleteFunc(out, func(s Stamp) bool { return s.Said.IsZero() || s.Stored.IsZero() }), nil
}

func readStamp(ctx context.Context, s objectstore.Store, src stampSource) (Stamp, error) {
	b, info, err := s.Get(ctx, src.key)
	if err != nil {
		return Stamp{}, err
	}
	var said struct {
		AnnouncedAt time.Time `json:"announcedAt"` // of a host
		MeasuredAt  time.Time `json:"measuredAt"`  // of a shipper
		Copied      bool      `json:"copied"`      // later than it was said, which tells nothing of clocks
	}
	if err := json.Unmarshal(b, &said); err != nil {
		return Stamp{}, fault.New(fault.Corrupt, "read "+src.key, err)
	}
	if said.Copied {
		return Stamp{}, nil
	}
	at := said.AnnouncedAt
	if at.IsZero() {
		at = said.MeasuredAt
	}
	return Stamp{Writer: src.writer, Said: at, Stored: info.Modified}, nil
}
