package catalog

import (
	"context"

	"github.com/smartdr/smartdr/internal/topology"
)

const standbyFile = "progress/standby.json"

type standbyDocument struct {
	Format int `json:"format"`
	topology.StandbyProgress
}

func (d standbyDocument) age() age {
	e, _ := topology.ParseLineageID(d.Lineage) // 0 for a lineage of nobody
	return age{e, d.MeasuredAt}
}

// PutStandbyProgress announces how far a standby is, as PutWALProgress does; the epoch is the lineage's.
func (c *Catalog) PutStandbyProgress(ctx context.Context, group, workspace string, p topology.StandbyProgress) error {
	return announce(ctx, c, group, workspace, standbyFile, standbyDocument{format, p}, nil)
}

// StandbyProgress returns the newest announcement among the buckets that answer; fault.Missing when there is none.
func (c *Catalog) StandbyProgress(ctx context.Context, group, workspace string) (topology.StandbyProgress, error) {
	d, err := newestAnnounced[standbyDocument](ctx, c, nil, group, workspace, standbyFile)
	return d.StandbyProgress, err
}
