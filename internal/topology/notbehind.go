package topology

import (
	"slices"

	"github.com/smartdr/smartdr/internal/wal"
)

// NotBehind returns p, or what was announced of the same bucket and lineage before if that is further. What was stored once
// is stored: a shipper that does not know it yet, or a bucket that lost it, must not make a failover expect less.
func (p RecoveryPoint) NotBehind(before RecoveryPoint) RecoveryPoint {
	switch {
	case p.At == wal.Position{}:
		return before
	case p.Lineage != before.Lineage:
		return p
	case p.At.Compare(before.At) < 0:
		return before
	case p.At.Timeline == before.At.Timeline && before.AsOf.After(p.AsOf):
		p.AsOf = before.AsOf
	}
	return p
}

// NotBehind returns p with the points that were announced of the same lineage before, where those are further. Who announces
// without having found out the lineage speaks of the one before.
func (p WALProgress) NotBehind(before WALProgress) WALProgress {
	if p.Lineage == "" {
		p.Lineage = before.Lineage
	}
	if p.Lineage != before.Lineage {
		return p
	}
	if (p.Server == wal.Position{}) {
		p.Server = before.Server
	}
	p.Cursors = slices.Clone(p.Cursors)
	for _, b := range before.Cursors {
		c := p.Cursor(b.Region)
		if c == nil {
			p.Cursors = append(p.Cursors, b)
			continue
		}
		if c.Point.At.Compare(b.Point.At) < 0 {
			c.LagBytes, c.LagSeconds = b.LagBytes, b.LagSeconds
		}
		c.Point = c.Point.NotBehind(b.Point)
	}
	return p
}
